"""The processes under measurement: started, watched through /proc and stopped by their ids."""

import ctypes
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.fakes.redis_server import RedisServer

KEY = "bench"
_START_S = 60.0
_PR_SET_PDEATHSIG = 1
_CONFIG_HEAD = "agents:\n"
_CONFIG_AGENT = """\
  {model}:
    model: vllm:{model}
    base_url: http://127.0.0.1:{port}/v1
    api_key: dummy
"""
_libc = ctypes.CDLL(None)


@dataclass(frozen=True)
class System:
    """Something that answers chat completions, and which processes it consists of."""

    name: str
    port: int
    pids: dict[str, int]
    redis: "redis.Redis | None" = None
    watches_clients: bool = False  # drops the upstream's stream when its client leaves

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu(self) -> dict[str, float]:
        """CPU seconds, user and system, of each process since it began."""
        return {name: _cpu_s(pid) for name, pid in self.pids.items()}

    def rss(self) -> dict[str, float]:
        """Resident KiB of each process."""
        return {name: _rss_kib(pid) for name, pid in self.pids.items()}

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


def _cpu_s(pid: int) -> float:
    """From the scheduler's nanoseconds where the kernel has them, else in 10 ms ticks."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return sum(int((t / "schedstat").read_text().split()[0]) for t in tasks) / 1e9
    except FileNotFoundError:
        ticks = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _rss_kib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return float(status.split("VmRSS:")[1].split()[0])


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _environ(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TRUNKLINE_")}
    return {**kept, **more}


@contextmanager
def process(*argv: str, log: Path | None = None, **env: str) -> Iterator[subprocess.Popen[str]]:
    """A child that ends with the block, or with this process. Its errors go to `log`, else ours."""
    with ExitStack() as stack:
        errors = stack.enter_context(log.open("w")) if log else None
        child = subprocess.Popen(
            argv,
            env=_environ(**env),
            stdin=subprocess.PIPE,
            stdout=errors or subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        try:
            yield child
        finally:
            _stop(child)


def _stop(child: subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()


def module(name: str, *argv: str) -> tuple[str, ...]:
    """The command that runs a module in this interpreter."""
    return (sys.executable, "-m", name, *argv)


def _port_of(child: subprocess.Popen[str]) -> int:
    assert child.stdout is not None
    return int(child.stdout.readline())


@contextmanager
def upstream() -> Iterator[int]:
    """The fake upstream's port."""
    with process(*module("tests.bench.upstream")) as child:
        yield _port_of(child)


def streams(port: int) -> int:
    """How many streams the fake upstream has open."""
    return int(json.loads(_get(port, "/stats")[1])["streams"])


@contextmanager
def direct(upstream_port: int, models: list[str]) -> Iterator[System]:
    """The upstream itself: what the generator's own way costs."""
    yield System("direct", upstream_port, {})


@contextmanager
def relay(upstream_port: int, models: list[str]) -> Iterator[System]:
    """The floor."""
    with process(*module("tests.bench.relay", str(upstream_port))) as child:
        yield System("relay", _port_of(child), {"relay": child.pid})


@contextmanager
def trunkline(upstream_port: int, models: list[str]) -> Iterator[System]:
    """One API process, one worker process and one Redis, with a key asked for."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-bench-")))
        config = home / "agents.yml"
        agents = [_CONFIG_AGENT.format(model=m, port=upstream_port) for m in models]
        config.write_text(_CONFIG_HEAD + "".join(agents))
        port = _free_port()
        server = stack.enter_context(RedisServer("--maxmemory-policy", "noeviction", tcp=True))
        client = stack.enter_context(server.client())
        settings = {
            "TRUNKLINE_REDIS_URL": server.url,
            "TRUNKLINE_API_KEY": KEY,
            "TRUNKLINE_LOG_FORMAT": "json",
            "TRUNKLINE_UPSTREAM_CONNECTIONS": "4000",
            "TRUNKLINE_DRAIN_S": "1",
            "TRUNKLINE_GRACE_S": "1",
        }
        work = module("trunkline", "worker", str(config), "--slots", "2000")
        worker = stack.enter_context(process(*work, log=home / "worker.log", **settings))
        serve = module("trunkline", "api", str(config), "--port", str(port))
        api = stack.enter_context(process(*serve, log=home / "api.log", **settings))
        _wait_ready(port, home, api, worker)
        pids = {"api": api.pid, "worker": worker.pid, "redis": server.pid}
        yield System("trunkline", port, pids, client, watches_clients=True)


SYSTEMS = {"direct": direct, "relay": relay, "trunkline": trunkline}


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


def _wait_ready(port: int, logs: Path, *children: subprocess.Popen[str]) -> None:
    until = time.monotonic() + _START_S
    while _get(port, "/ready")[0] != 200:
        ended = any(child.poll() is not None for child in children)
        if ended or time.monotonic() > until:
            said = "\n".join(log.read_text()[-3000:] for log in sorted(logs.glob("*.log")))
            raise SystemExit(f"trunkline does not get ready:\n{said}")
        time.sleep(0.05)
