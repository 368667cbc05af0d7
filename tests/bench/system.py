"""The systems that are measured, from their start to their stop, and what can be read of them."""

import http.client
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

import redis

from tests.bench.process import cpu_s, module, port_of, process, rss_kib
from tests.fakes.redis_server import RedisServer
from trunkline_shared.config.models import DEFAULT_POOL
from trunkline_shared.keys import Keys

KEY = "bench"
_START_S = 60.0
_AT_ONCE = 4  # workers that start together: each wants a core for a second
_CONFIG_HEAD = "agents:\n"
_CONFIG_AGENT = """\
  {model}:
    model: vllm:{model}
    base_url: http://127.0.0.1:{port}/v1
    api_key: dummy
"""


@dataclass(frozen=True)
class System:
    """Something that answers chat completions, and which processes it consists of."""

    name: str
    port: int
    pids: dict[str, int]
    redis: "redis.Redis | None" = None
    watches_clients: bool = False  # drops the upstream's stream when its client leaves
    lacks: frozenset[str] = field(default=frozenset())  # names of cases that it cannot do
    grow: Callable[[int], None] | None = None  # starts workers until there are so many

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu(self) -> dict[str, float]:
        """CPU seconds, user and system, of each process since it began."""
        return {name: cpu_s(pid) for name, pid in self.pids.items()}

    def rss(self) -> dict[str, float]:
        """Resident KiB of each process."""
        return {name: rss_kib(pid) for name, pid in self.pids.items()}

    def commands(self) -> dict[str, float]:
        """Redis calls so far by command, those inside scripts included; `bytes` in and out."""
        if self.redis is None:
            return {}
        stats = self.redis.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): float(s["calls"]) for name, s in stats.items()}
        total = self.redis.info("stats")
        moved = total["total_net_input_bytes"] + total["total_net_output_bytes"]
        return {**calls, "bytes": float(moved)}

    def redis_memory(self) -> float:
        """KiB that Redis holds; 0 without a Redis."""
        return self.redis.info("memory")["used_memory"] / 1024 if self.redis else 0.0

    def redis_keys(self) -> float:
        """KiB of all keys with what lies there, by Redis' own account; 0 without a Redis."""
        if self.redis is None:
            return 0.0
        with self.redis.pipeline(transaction=False) as asked:
            for key in self.redis.scan_iter(count=1000):
                asked.memory_usage(key, samples=0)
            return sum(size or 0 for size in asked.execute()) / 1024


Start = Callable[..., AbstractContextManager[System]]  # of the upstream's port, and the models
Under: TypeAlias = Mapping[str, tuple[str, ...]]  # by a process' name, the command that runs it
_NOTHING: Final[Under] = MappingProxyType({})


@contextmanager
def upstream() -> Iterator[int]:
    """The fake upstream's port."""
    with process(*module("tests.bench.upstream")) as child:
        yield port_of(child)


def stats(port: int) -> dict[str, int]:
    """What the fake upstream counts: `requests` so far, `streams` and `holding` now."""
    counted: dict[str, int] = json.loads(_get(port, "/stats")[1])
    return counted


def streams(port: int) -> int:
    """How many streams the fake upstream has open."""
    return stats(port)["streams"]


@contextmanager
def direct(upstream_port: int, models: list[str]) -> Iterator[System]:
    """The upstream itself: what the generator's own way costs."""
    yield System("direct", upstream_port, {})


@contextmanager
def relay(upstream_port: int, models: list[str], *, under: Under = _NOTHING) -> Iterator[System]:
    """The floor."""
    command = (*under.get("relay", ()), *module("tests.bench.relay", str(upstream_port)))
    with process(*command) as child:
        yield System("relay", port_of(child), {"relay": child.pid})


@contextmanager
def trunkline(
    upstream_port: int, models: list[str], slots: int = 6000, *, under: Under = _NOTHING
) -> Iterator[System]:
    """One API process, one worker process with `slots` and one Redis, with a key asked for."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-bench-")))
        config = home / "agents.yml"
        agents = [_CONFIG_AGENT.format(model=m, port=upstream_port) for m in models]
        config.write_text(_CONFIG_HEAD + "".join(agents))
        port = _free_port()
        policy = ("--maxmemory-policy", "noeviction")
        server = RedisServer(*policy, tcp=True, run_by=under.get("redis", ()))
        stack.enter_context(server)
        client = stack.enter_context(server.client())
        settings = {
            "TRUNKLINE_REDIS_URL": server.url,
            "TRUNKLINE_API_KEY": KEY,
            "TRUNKLINE_SECRET_KEY": KEY,
            "TRUNKLINE_LOG_FORMAT": "json",
            "TRUNKLINE_DRAIN_S": "1",
            "TRUNKLINE_GRACE_S": "1",
        }
        work = module("trunkline", "worker", str(config), "--slots", str(slots))
        serve = module("trunkline", "api", str(config), "--port", str(port))
        children: dict[str, subprocess.Popen[str]] = {}
        pids = {"redis": server.pid}

        def start(name: str, argv: tuple[str, ...]) -> None:
            log = home / f"{name}.log"
            command = (*under.get(name, ()), *argv)
            children[name] = stack.enter_context(process(*command, log=log, **settings))
            pids[name] = children[name].pid

        def grow(number: int) -> None:
            known = Keys().workers(DEFAULT_POOL)
            for i in range(len(children), number + 1):  # one of the children is the API
                start(f"worker{i}", work)
                if i % _AT_ONCE == 0 or i == number:
                    _wait(lambda at_least=i: client.zcard(known) >= at_least, home, children)

        start("worker", work)
        start("api", serve)
        _wait(lambda: _get(port, "/ready")[0] == 200, home, children)
        yield System("trunkline", port, pids, client, watches_clients=True, grow=grow)


SYSTEMS: dict[str, Start] = {"direct": direct, "relay": relay, "trunkline": trunkline}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def _wait(
    ready: Callable[[], bool], logs: Path, children: dict[str, subprocess.Popen[str]]
) -> None:
    until = time.monotonic() + _START_S
    while not ready():
        ended = any(child.poll() is not None for child in children.values())
        if ended or time.monotonic() > until:
            said = "\n".join(log.read_text()[-3000:] for log in sorted(logs.glob("*.log")))
            raise SystemExit(f"trunkline does not get ready:\n{said}")
        time.sleep(0.05)
