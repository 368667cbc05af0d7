"""The cases: what is asked of a system, and which figures come of it. Each measures one round."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.bench.load import Spec
from tests.bench.measure import Figures, cost, idle, load, steady_cost, until
from tests.bench.system import KEY, System, streams


@dataclass(frozen=True)
class Scale:
    """How much of each case a round does."""

    ttft_requests: int = 200
    short_requests: int = 3000
    burst_requests: int = 200
    paced_streams: int = 1000
    paced_s: int = 10
    held: int = 800
    idle_s: float = 11.0  # long enough for each periodic work of a process

    @property
    def paced_model(self) -> str:
        return f"paced-{20 * self.paced_s}-20"

    @property
    def models(self) -> list[str]:
        return ["burst-1", "burst-16", "burst-500", "sleep-600", self.paced_model]


QUICK = Scale(ttft_requests=100, short_requests=1000, burst_requests=60, paced_s=4, idle_s=3.0)


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    systems: tuple[str, ...]
    measure: Callable[[System, int, Scale], Figures]  # system, the upstream's port, scale
    fresh: bool = False  # each round has processes of its own: memory is not given back


def _spec(system: System, model: str, **more: Any) -> Spec:
    return Spec(url=system.url, model=model, key=KEY, **more)


def _ttft(system: System, _upstream: int, scale: Scale) -> Figures:
    spec = _spec(system, "burst-1", requests=scale.ttft_requests, warmup=50)
    return cost(system, spec, "requests", 1e3)


def _short(system: System, _upstream: int, scale: Scale) -> Figures:
    spec = _spec(system, "burst-16", connections=32, requests=scale.short_requests, warmup=300)
    return cost(system, spec, "requests", 1e3)


def _burst(system: System, _upstream: int, scale: Scale) -> Figures:
    spec = _spec(system, "burst-500", connections=8, requests=scale.burst_requests, warmup=20)
    return cost(system, spec, "tokens", 1e6)


def _paced(system: System, _upstream: int, scale: Scale) -> Figures:
    number = scale.paced_streams
    spec = _spec(
        system, scale.paced_model, connections=number, requests=number, ramp_s=1.0, timeout_s=120.0
    )
    # Between the last start and the first end: starting and ending are the case `short`.
    window_s = (1.5, scale.paced_s - 0.5)
    return steady_cost(system, spec, 20.0 * number, window_s, 1e6)


def _held(system: System, upstream_port: int, scale: Scale) -> Figures:
    number = scale.held
    probe = _spec(system, "burst-1", requests=100, warmup=50)
    sleepers = _spec(
        system, "sleep-600", connections=number, requests=number, ramp_s=2.0, timeout_s=600.0
    )
    cost(system, probe, "requests", 1e3)
    rss, keys = system.rss(), system.redis_memory()
    with load(sleepers) as running:
        running.begin()
        took = until(lambda: streams(upstream_port) >= number, 60)
        grown = {f"kib.{name}": (kib - rss[name]) / number for name, kib in system.rss().items()}
        keys = (system.redis_memory() - keys) / number
        held = {"held": float(streams(upstream_port)), "held_after_s": took, "kib.keys": keys}
        waiting = idle(system, scale.idle_s) if system.redis else {}
        figures = cost(system, probe, "requests", 1e3)
    if system.watches_clients:
        held["left_after_s"] = until(lambda: streams(upstream_port) == 0, 30)
    return {**figures, **waiting, **grown, **held}


_BOTH = ("relay", "trunkline")
CASES = (
    Case("ttft", "one connection, one token", ("direct", *_BOTH), _ttft),
    Case("short", "32 connections, 16 tokens at once", _BOTH, _short),
    Case("burst", "8 connections, 500 tokens at once", _BOTH, _burst),
    Case("paced", "1,000 streams of 20 tokens/s", _BOTH, _paced),
    Case("held", "800 runs in progress, and one more", _BOTH, _held, fresh=True),
)
