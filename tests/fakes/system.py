"""All of Trunkline as the processes that it is in production, on loopback.

    with System(tmp_path, {"agents": {"words-3": upstream_agent("words-3")}}, workers=3) as system:
        system.base_url()            # http://127.0.0.1:PORT/v1 of the first API process
        system.kill_worker(0)        # SIGKILL, or any signal
        system.start_worker()        # returns at once; wait_ready() waits until it serves
        system.upstream.closed()     # see tests.fakes.upstream
        system.redis.pause()         # see tests.fakes.redis_server

Stopping fails when a process does not obey, or leaves one behind.
"""

import http.client
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
import yaml

from tests.fakes.process import STOP_S, LoggedProcess
from tests.fakes.redis_server import RedisServer
from tests.fakes.upstream_process import UpstreamProcess

START_S = 90.0  # for what takes two seconds on a machine that is not loaded
SETTINGS = {"TRUNKLINE_DRAIN_S": "2", "TRUNKLINE_GRACE_S": "2", "TRUNKLINE_LOG_FORMAT": "json"}


def upstream_agent(model: str, *, provider: str = "openai", **more: Any) -> dict[str, Any]:
    """The configuration of an agent on the system's fake upstream."""
    where = {"base_url": "${UPSTREAM_URL}", "api_key": "upstream-secret"}
    return {"model": f"{provider}:{model}", **where, **more}


class System:
    """`config` is the agents' file as a value; `settings` are TRUNKLINE_* variables of every
    process (the prefix may be left out), `api_keys` the keys that the API asks for, if any.

    `redis` may be given, and is then not stopped; else it is one of its own on TCP.
    `worker_program` takes the command line of `trunkline worker` in its place.
    """

    def __init__(
        self,
        directory: Path,
        config: dict[str, Any],
        *,
        apis: int = 1,
        workers: int = 1,
        settings: Mapping[str, Any] | None = None,
        api_keys: tuple[str, ...] = (),
        redis: RedisServer | None = None,
        worker_program: str = "trunkline",
    ) -> None:
        self._worker_program = worker_program
        self.directory = directory
        self.apis: list[LoggedProcess] = []
        self.workers: list[LoggedProcess] = []
        self._ports: list[int] = []
        self._config = directory / "agents.yml"
        self._config.write_text(yaml.safe_dump(config))
        self._settings = {**SETTINGS, **_variables(settings or {})}
        if api_keys:
            self._settings["TRUNKLINE_API_KEY"] = ",".join(api_keys)
        self._resources = ExitStack()
        # Children end by themselves when nobody holds the other end: also if we are killed.
        self._parent_pipe, our_end = os.pipe()
        for end in (self._parent_pipe, our_end):
            self._resources.callback(os.close, end)
        with ExitStack() as undo:
            undo.callback(self._end)
            self.redis = redis or self._resources.enter_context(RedisServer(tcp=True))
            self.upstream = UpstreamProcess(directory / "upstream.log", _clean_environ())
            self._resources.callback(self.upstream.stop)
            for _ in range(workers):
                self.start_worker()
            for _ in range(apis):
                self.start_api()
            self.wait_ready()
            undo.pop_all()

    def url(self, api: int = 0) -> str:
        return f"http://127.0.0.1:{self._ports[api]}"

    def base_url(self, api: int = 0) -> str:
        """What clients of OpenAI's take."""
        return f"{self.url(api)}/v1"

    def start_worker(self, *options: str, **environ: str) -> LoggedProcess:
        """One more; `options` of the command line, variables of its own."""
        name = f"worker-{len(self.workers)}"
        self.workers.append(self._start(name, "worker", *options, **environ))
        return self.workers[-1]

    def start_api(self, *options: str, **environ: str) -> LoggedProcess:
        """One more, on a port of its own."""
        self._ports.append(_free_port())
        port = str(self._ports[-1])
        name = f"api-{len(self.apis)}"
        self.apis.append(self._start(name, "api", "--port", port, *options, **environ))
        return self.apis[-1]

    def kill_worker(self, index: int, number: signal.Signals = signal.SIGKILL) -> None:
        """Also SIGSTOP, SIGCONT, SIGTERM. Returns at once."""
        self.workers[index].signal(number)

    def kill_api(self, index: int, number: signal.Signals = signal.SIGKILL) -> None:
        self.apis[index].signal(number)

    def wait_ready(self, timeout_s: float = START_S) -> None:
        """Until each worker serves and each API process answers /ready with 200.

        Those that were killed or ended do not count; a paused API process never gets there.
        """
        deadline = time.monotonic() + timeout_s
        waiting = [(self.workers, self._worker_ready), (self.apis, self._api_ready)]
        for processes, is_ready in waiting:
            for index, process in enumerate(processes):
                self._wait_for(process, partial(is_ready, index), deadline)

    def _wait_for(
        self, process: LoggedProcess, is_ready: Callable[[], bool], deadline: float
    ) -> None:
        while not is_ready():
            code = process.code
            if code is not None and code <= 0:
                return
            if code is not None or time.monotonic() > deadline:
                raise AssertionError(f"{process.log.name}: does not get ready\n{process.tail()}")
            time.sleep(0.02)

    def print_logs(self) -> None:
        """The end of what each process said."""
        for process in (*self.apis, *self.workers):
            print(process.tail())

    @contextmanager
    def telling(self, request: pytest.FixtureRequest) -> Iterator[None]:
        """Around the `yield` of a test's fixture: prints the logs if a test failed in it."""
        failed = request.session.testsfailed
        yield
        if request.session.testsfailed > failed:
            self.print_logs()

    def stop(self) -> None:
        """End everything in order: the API processes first, Redis last."""
        complaints = self._end()
        assert not complaints, "; ".join(complaints)

    def __enter__(self) -> "System":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.print_logs()
            self._end()
            return
        self.stop()

    def _start(self, name: str, command: str, *options: str, **environ: str) -> LoggedProcess:
        tether = ("--parent-pipe", str(self._parent_pipe))
        where = (str(self._config), "--redis-url", self.redis.url)
        program = self._worker_program if command == "worker" else "trunkline"
        return LoggedProcess(
            [sys.executable, "-m", program, command, *where, *tether, *options],
            self.directory / f"{name}.log",
            {
                **_clean_environ(),
                **self._settings,
                "UPSTREAM_URL": self.upstream.base_url,
                **environ,
            },
            pass_fds=(self._parent_pipe,),
        )

    def _worker_ready(self, index: int) -> bool:
        return "worker ready" in self.workers[index].logged()

    def _api_ready(self, index: int) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._ports[index], timeout=10)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def _end(self) -> list[str]:
        complaints = []
        for tier in (self.apis, self.workers):
            for process in tier:
                process.signal(signal.SIGTERM)
                process.signal(signal.SIGCONT)
            deadline = time.monotonic() + STOP_S
            for process in tier:
                complaints.append(process.collect(max(0.0, deadline - time.monotonic())))
        self._resources.close()
        return [complaint for complaint in complaints if complaint]


def _variables(settings: Mapping[str, Any]) -> dict[str, str]:
    def name(key: str) -> str:
        return key if key.startswith("TRUNKLINE_") else f"TRUNKLINE_{key.upper()}"

    return {name(key): str(value) for key, value in settings.items()}


def _clean_environ() -> dict[str, str]:
    kept = {name: v for name, v in os.environ.items() if not name.startswith("TRUNKLINE_")}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
