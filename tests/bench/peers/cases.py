"""What the peers are asked: the cases of the bench, each system as much of it as it can bear."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tests.bench.measure import Figures, cost, steady_cost
from tests.bench.peers.system import Peer
from tests.bench.spec import Spec
from tests.bench.system import KEY, System

_RATE = 20  # tokens a second of a paced stream
_PACED_S = 10
_FEW, _MANY = 20, 100
# LiteLLM and AgentPool cannot keep up with 100 streams: their delays would be those of a queue.
_MOST_STREAMS = {"litellm": _FEW, "agentpool": _FEW}
_MOST = {"openhands": 8}  # connections: it refuses an eleventh run
# How many requests make a round, by system: some seconds' worth of each.
_ALONE = {
    "direct": 200,
    "relay": 200,
    "naive": 200,
    "litellm": 100,
    "agentpool": 30,
    "openhands": 10,
    "trunkline": 200,
}
_SHORT = {
    "relay": 3000,
    "naive": 600,
    "litellm": 200,
    "agentpool": 60,
    "openhands": 16,
    "trunkline": 2000,
}
_LONG = {"relay": 200, "naive": 60, "litellm": 16, "agentpool": 16, "trunkline": 150}
_STREAMING = ("relay", "naive", "litellm", "agentpool", "trunkline")


@dataclass(frozen=True)
class Case:
    """`requests` says by system how many make a round; who is not in it takes no part.

    The connections are the same for all that can bear them: what comes together costs less.
    """

    name: str
    title: str
    model: str
    connections: int
    requests: dict[str, int]
    measure: Callable[["Case", System], Figures]
    ask: Literal["chat", "whole"] = "chat"
    most: Mapping[str, int] = field(default_factory=lambda: _MOST)  # connections, by system

    def spec(self, system: System) -> Spec:
        key, prefix = (system.key, system.prefix) if isinstance(system, Peer) else (KEY, "")
        requests = self.requests[system.name]
        return Spec(
            url=system.url,
            model=self.model,
            ask=self.ask,
            prefix=prefix,
            key=key,
            connections=min(self.connections, self.most.get(system.name, self.connections)),
            requests=requests,
            warmup=max(requests // 5, 2),
            timeout_s=120.0,
        )


def _per_request(case: Case, system: System) -> Figures:
    figures = cost(system, case.spec(system), "requests", 1e3)
    held = [kib for name, kib in system.rss().items() if name != "redis"]
    return figures | {"rss_mib": sum(held) / 1024}


def _per_token(case: Case, system: System) -> Figures:
    return cost(system, case.spec(system), "tokens", 1e6)


def _per_paced_token(case: Case, system: System) -> Figures:
    spec = case.spec(system)
    number = spec.connections
    spec = replace(spec, requests=number, warmup=0, ramp_s=1.0)
    # Between the last start and the first end: starting and ending are the case `short`.
    return steady_cost(system, spec, float(_RATE * number), (2.5, _PACED_S - 0.5), 1e6)


def _paced(name: str, title: str, streams: int, most: Mapping[str, int]) -> Case:
    asked = dict.fromkeys(_STREAMING, streams)
    model = f"paced-{_RATE * _PACED_S}-{_RATE}"
    return Case(name, title, model, streams, asked, _per_paced_token, most=most)


_AT_ONCE = "32 connections, 16 tokens at once"
CASES = (
    Case("ttft", "one connection, one token", "burst-1", 1, _ALONE, _per_request),
    Case("short", _AT_ONCE, "burst-16", 32, _SHORT, _per_request),
    Case("whole", _AT_ONCE + ", not streamed", "burst-16", 32, _SHORT, _per_request, "whole"),
    Case("burst", "8 connections, 500 tokens at once", "burst-500", 8, _LONG, _per_token),
    _paced(
        "paced",
        f"{_MANY} streams of {_RATE} tokens/s; {_FEW} where it bears no more",
        _MANY,
        _MOST_STREAMS,
    ),
    _paced("few", f"{_FEW} streams of {_RATE} tokens/s for all", _FEW, {}),
)
CANNOT = {
    ("burst", "openhands"): "cannot: answers in one chunk",
    ("paced", "openhands"): "cannot: answers in one chunk",
    ("few", "openhands"): "cannot: answers in one chunk",
}
