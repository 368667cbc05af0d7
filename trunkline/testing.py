"""A server of one's own for the length of a `with` block, for tests and examples."""

import contextlib
import http.client
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, Self

from trunkline.port import base_url, free_port, reachable_host
from trunkline_api.settings import ApiSettings
from trunkline_shared.errors import StartError

__all__ = ["ManagedAPIServer"]

STOP_S = 5.0  # from a signal to the next stronger one
_ASK_AGAIN_S = 0.05
_LAST_WORDS_S = 15.0  # what a killed server leaves behind ends by itself in less


class ManagedAPIServer:
    """`trunkline serve` with its built-in agents as a child process; usable as a context manager.

    It takes requests when `with` begins, and is gone when it ends, with its data; however this
    process ends, the server does too. `extra_env` is its environment where that of this process
    says nothing. `session_api_key` is a key that it takes, None if it asks for none. What it says
    is shown on standard error with the prefix `[SERVER]`. Port 0 is any free one.

    `with` raises StartError when something listens on the port already, or when the server ends
    or is not healthy within `max_start_wait_seconds`; nothing is left of it then.
    """

    def __init__(
        self,
        port: int = 8000,
        host: str = "127.0.0.1",
        *,
        extra_env: Mapping[str, str] | None = None,
        use_session_api_key: bool = False,
        health_request_timeout: float = 1.0,
        max_start_wait_seconds: float = 30,
    ) -> None:
        self.port = port
        self.host = host
        self.process: subprocess.Popen[str] | None = None
        key = {"SESSION_API_KEY": secrets.token_urlsafe(32)} if use_session_api_key else {}
        self._environ = {**(extra_env or {}), **key, **os.environ}
        keys = ApiSettings.from_environ(self._environ).session_api_key
        self.session_api_key = keys[0] if keys else None
        self._health_request_timeout = health_request_timeout
        self._max_start_wait_seconds = max_start_wait_seconds
        self._resources = contextlib.ExitStack()

    @property
    def base_url(self) -> str:
        return base_url(self.host, self.port)

    def __enter__(self) -> Self:
        self.port = free_port(self.host, self.port)
        with contextlib.ExitStack() as undo:
            data = tempfile.TemporaryDirectory(prefix="trunkline-", ignore_cleanup_errors=True)
            data_dir = undo.enter_context(data)
            # The server ends when nobody holds the other end: also if we are killed.
            tether, our_end = os.pipe()
            for end in (tether, our_end):
                undo.callback(os.close, end)
            where = ("--port", str(self.port), "--host", self.host, "--data-dir", data_dir)
            server = undo.enter_context(_Server(where, self._environ, tether))
            self.process = server.process
            self._wait_until_healthy(server)
            self._resources = undo.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._resources.close()

    def _wait_until_healthy(self, server: "_Server") -> None:
        deadline = time.monotonic() + self._max_start_wait_seconds
        while (code := server.process.poll()) is None:
            if self._is_healthy():
                return
            if time.monotonic() > deadline:
                raise StartError(
                    f"the server was not healthy after {self._max_start_wait_seconds:g} s; "
                    "give more max_start_wait_seconds"
                )
            time.sleep(_ASK_AGAIN_S)
        raise StartError(f"the server ended (exit code {code}): {server.last_words()}")

    def _is_healthy(self) -> bool:
        host, timeout = reachable_host(self.host), self._health_request_timeout
        connection = http.client.HTTPConnection(host, self.port, timeout=timeout)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/health")
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False


class _Server:
    """The process; it and all that it started are gone when `with` ends."""

    def __init__(self, options: Sequence[str], environ: Mapping[str, str], tether: int) -> None:
        program = (sys.executable, "-P", "-m", "trunkline", "serve")
        self.process = subprocess.Popen(
            (*program, *options, "--parent-pipe", str(tether)),
            env=environ,
            pass_fds=(tether,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a Ctrl-C is ours; we end it in order
        )
        assert self.process.stdout is not None
        self._mirror = _Mirror(self.process.stdout)

    def last_words(self) -> str:
        """What an ended server said last."""
        self._mirror.join(_LAST_WORDS_S)
        return self._mirror.last_line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            for _ in range(2):  # the second signal hurries: streams may be open
                self.process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(STOP_S)
        finally:
            self.process.kill()
            self.process.wait()
            self._mirror.join(_LAST_WORDS_S)  # it ends when nobody is left who could write


class _Mirror(threading.Thread):
    """Shows what a child writes, line by line."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(name="mirror", daemon=True)
        self.last_line = ""
        self._stream = stream
        self.start()

    def run(self) -> None:
        with self._stream:
            for line in self._stream:
                self.last_line = line.strip() or self.last_line
                # Where nobody takes it, the child must be able to write all the same.
                with contextlib.suppress(OSError, ValueError):
                    print(f"[SERVER] {line}", end="", file=sys.stderr, flush=True)
