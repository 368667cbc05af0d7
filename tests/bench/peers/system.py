"""The peers as processes: each from its own environment, on loopback, with a key of the moment."""

import json
import os
import secrets
import signal
import socket
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.bench.peers.environment import HERE, Unavailable, program
from tests.bench.process import module, port_of, process
from tests.bench.system import KEY, System, direct, relay, trunkline

_START_S = 120.0
_TICKS = os.sysconf("SC_CLK_TCK")
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# What wants to go out finds nobody at the discard port: a peer may ask for prices or for skills.
_ALONE = {
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "PYTHONPATH": "",
    "DO_NOT_TRACK": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}
_LITELLM_MODEL = """\
  - model_name: {model}
    litellm_params:
      model: openai/{model}
      api_base: http://127.0.0.1:{port}/v1
      api_key: dummy
"""
_AGENTPOOL = """\
agents:
  bench:
    type: native
    model: openai-chat:{model}
storage:
  providers:
    - type: memory
"""


@dataclass(frozen=True)
class Peer(System):
    """A system with a key of its own, and a prefix before the names of its models."""

    key: str = KEY
    prefix: str = ""

    def cpu(self) -> dict[str, float]:
        """As of any system; with the threads and the children that have ended, in 10 ms ticks."""
        return {name: _cpu_s(pid) for name, pid in self.pids.items()}


Start = Callable[[int, list[str]], AbstractContextManager[System]]


@contextmanager
def naive(upstream_port: int, models: list[str]) -> Iterator[System]:
    """FastAPI and httpx, in the environment of the project."""
    with process(*module("tests.bench.peers.naive", str(upstream_port))) as child:
        yield System("naive", port_of(child), {"naive": child.pid})


@contextmanager
def litellm(upstream_port: int, models: list[str]) -> Iterator[System]:
    """Its proxy as one process, without a database; logs as its page on production advises."""
    with _home() as home:
        key, port, config = _key(), _free_port(), home / "config.yml"
        listed = [_LITELLM_MODEL.format(model=model, port=upstream_port) for model in models]
        config.write_text("model_list:\n" + "".join(listed))
        env = {"LITELLM_MASTER_KEY": key, "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
        options = ("--config", str(config), "--host", "127.0.0.1", "--port", str(port))
        command = (program("litellm", "litellm"), *options, "--num_workers", "1")
        with _serving(home, *command, ready=_url(port, "/health/readiness"), env=env) as pid:
            yield Peer("litellm", port, {"litellm": pid}, key=key)


@contextmanager
def agentpool(upstream_port: int, models: list[str]) -> Iterator[System]:
    """Its one agent, which has the first model, repaired by the launcher; nothing is stored."""
    with _home() as home:
        key, port, config = _key(), _free_port(), home / "agents.yml"
        config.write_text(_AGENTPOOL.format(model=models[0]))
        env = {
            "OPENAI_BASE_URL": _url(upstream_port, "/v1"),
            "OPENAI_API_KEY": "dummy",
            "LOGFIRE_IGNORE_NO_CONFIG": "1",
        }
        # -P: the modules beside the launcher are none of its own.
        launcher = ("-P", str(HERE / "launch_agentpool.py"), str(config), str(port), key)
        command = (program("agentpool", "python"), *launcher)
        with _serving(home, *command, ready=_url(port, "/v1/models"), env=env) as pid:
            yield Peer("agentpool", port, {"agentpool": pid}, key=key)


@contextmanager
def openhands(upstream_port: int, models: list[str]) -> Iterator[System]:
    """Its gateway with the agent that it makes by default; a profile for each model."""
    with _home() as home:
        key, port = _key(), _free_port()
        env = {
            "SESSION_API_KEY": key,
            "OH_SECRET_KEY": _key(),
            "OH_ENABLE_VSCODE": "false",
            "OH_PRELOAD_TOOLS": "false",
            "TMUX_TMPDIR": str(home),
        }
        options = ("--host", "127.0.0.1", "--port", str(port))
        command = (program("openhands", "python"), "-m", "openhands.agent_server", *options)
        with _serving(home, *command, ready=_url(port, "/ready"), env=env) as pid:
            for model in models:
                _save_profile(_url(port, f"/api/profiles/{model}"), key, model, upstream_port)
            yield Peer("openhands", port, {"openhands": pid}, key=key, prefix="openhands_")


SYSTEMS: dict[str, Start] = {
    "direct": direct,
    "relay": relay,
    "naive": naive,
    "litellm": litellm,
    "agentpool": agentpool,
    "openhands": openhands,
    "trunkline": trunkline,
}
# Installed from a lock of their own, which holds this package of theirs.
LOCKED = {
    "litellm": "litellm",
    "agentpool": "agentpool",
    "openhands": "openhands-agent-server",
}
FORGETS_NOTHING = {"agentpool"}  # sends all that it was ever asked: each round has a new one


@contextmanager
def _home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-peer-", ignore_cleanup_errors=True) as home:
        yield Path(home)


@contextmanager
def _serving(home: Path, *command: str, ready: str, env: dict[str, str]) -> Iterator[int]:
    """The process id of a server that runs in `home` and knows no other, once `ready` is a 200."""
    log = home / "server.log"
    inside = ("env", "--chdir", str(home), *command)
    try:
        with process(*inside, log=log, **_ALONE, **env, HOME=str(home)) as child:
            until = time.monotonic() + _START_S
            while not _answers(ready):
                if child.poll() is not None or time.monotonic() > until:
                    raise Unavailable(f"{command[0]} does not get ready: {_end_of(log)}")
                time.sleep(0.1)
            yield child.pid
    finally:
        _end_strays(home)


def _end_strays(home: Path) -> None:
    """End what a server left running: each child bears its home in its environment."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with suppress(OSError):
            if f"HOME={home}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-600:]


def _answers(url: str) -> bool:
    try:
        with _opener.open(url, timeout=10) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def _save_profile(url: str, key: str, model: str, upstream_port: int) -> None:
    llm = {
        "model": f"openai/{model}",
        "api_key": "dummy",
        "base_url": _url(upstream_port, "/v1"),
    }
    headers = {"X-Session-API-Key": key, "content-type": "application/json"}
    body = json.dumps({"llm": llm, "include_secrets": True}).encode()
    with _opener.open(urllib.request.Request(url, body, headers), timeout=30):
        pass


def _cpu_s(pid: int) -> float:
    """User and system seconds of a process, its ended threads and the children it waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / _TICKS


def _key() -> str:
    return "sk-" + secrets.token_urlsafe(24)


def _url(port: int, path: str) -> str:
    return f"http://127.0.0.1:{port}{path}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
