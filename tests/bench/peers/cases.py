"""What the peers are asked: the cases of the bench, each system as much of it as it can bear."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from tests.bench.measure import Figures, cost, steady_cost
from tests.bench.peers.system import Peer
from tests.bench.spec import Spec
from tests.bench.system import KEY, System

_RATE = 20  # tokens a second of a paced stream
_PACED_S = 10
_STREAMS = 20  # LiteLLM cannot keep up with 100: its delays would be those of a queue
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
_PACED = dict.fromkeys(("relay", "naive", "litellm", "agentpool", "trunkline"), _STREAMS)


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

    def spec(self, system: System) -> Spec:
        key, prefix = (system.key, system.prefix) if isinstance(system, Peer) else (KEY, "")
        requests = self.requests[system.name]
        return Spec(
            url=system.url,
            model=self.model,
            ask=self.ask,
            prefix=prefix,
            key=key,
            connections=min(self.connections, _MOST.get(system.name, self.connections)),
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
    number = case.connections
    spec = replace(case.spec(system), warmup=0, ramp_s=1.0)
    # Between the last start and the first end: starting and ending are the case `short`.
    return steady_cost(system, spec, float(_RATE * number), (2.5, _PACED_S - 0.5), 1e6)


_AT_ONCE = "32 connections, 16 tokens at once"
CASES = (
    Case("ttft", "one connection, one token", "burst-1", 1, _ALONE, _per_request),
    Case("short", _AT_ONCE, "burst-16", 32, _SHORT, _per_request),
    Case("whole", _AT_ONCE + ", not streamed", "burst-16", 32, _SHORT, _per_request, "whole"),
    Case("burst", "8 connections, 500 tokens at once", "burst-500", 8, _LONG, _per_token),
    Case(
        "paced",
        f"{_STREAMS} streams of {_RATE} tokens/s",
        f"paced-{_RATE * _PACED_S}-{_RATE}",
        _STREAMS,
        _PACED,
        _per_paced_token,
    ),
)
CANNOT = {
    ("burst", "openhands"): "cannot: answers in one chunk",
    ("paced", "openhands"): "cannot: answers in one chunk",
}
