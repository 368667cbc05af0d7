"""A case: what is asked of a system, and which figures come of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.bench.measure import Figures, cost
from tests.bench.spec import Spec
from tests.bench.system import KEY, System

BOTH = ("relay", "trunkline")
HOLD_S = 600  # longer than any case


@dataclass(frozen=True)
class Scale:
    """How much of each case a round does."""

    ttft_requests: int = 200
    short_requests: int = 3000  # of each kind of short answer
    large_requests: int = 300
    burst_requests: int = 200
    paced_streams: int = 1000
    paced_s: int = 10
    wide_streams: int = 5000
    wide_s: int = 20
    wide_ramp_s: float = 10.0
    held: int = 800
    in_flight: int = 100
    trips: int = 100
    cancels: int = 60
    cancel_among: int = 50  # runs
    fleet_s: float = 4.0
    fleet_workers: int = 40
    idle_s: float = 11.0  # long enough for each periodic work of a process

    @property
    def paced_model(self) -> str:
        return f"paced-{20 * self.paced_s}-20"

    @property
    def wide_model(self) -> str:
        return f"paced-{4 * self.wide_s}-4"

    @property
    def endless_model(self) -> str:
        return f"paced-{20 * HOLD_S}-20"

    @property
    def models(self) -> list[str]:
        fixed = ["burst-1", "burst-16", "burst-500", "nap-500", f"sleep-{HOLD_S}"]
        held = [f"hold-500-{HOLD_S}", f"drip-500-50-{HOLD_S}"]
        return [*fixed, *held, self.paced_model, self.wide_model, self.endless_model]


QUICK = Scale(
    ttft_requests=100,
    short_requests=1000,
    large_requests=100,
    burst_requests=60,
    paced_s=4,
    wide_s=10,
    wide_ramp_s=6.0,
    in_flight=50,
    cancels=20,
    fleet_s=2.0,
    fleet_workers=10,
    idle_s=3.0,
)


@dataclass(frozen=True)
class Case:
    """`measure` is given a system, the upstream's port and a scale, and does one round."""

    name: str
    title: str
    systems: tuple[str, ...]
    measure: Callable[[System, int, Scale], Figures]
    fresh: bool = False  # each round has processes of its own: memory is not given back
    once: bool = False  # of all rounds only the first
    options: Mapping[str, int] = field(default_factory=dict)  # to a fresh system's start
    load: Callable[[System, Scale], Spec] | None = None  # what it puts on a system, to profile


def spec(system: System, model: str, **more: Any) -> Spec:
    """A load on a system, with the key that it asks for."""
    return Spec(url=system.url, model=model, key=KEY, **more)


def per(
    load: Callable[[System, Scale], Spec], share: str, unit: float
) -> Callable[[System, int, Scale], Figures]:
    """A measurement of one load: its CPU seconds, times `unit`, by its `requests` or `tokens`."""
    return lambda system, _upstream, scale: cost(system, load(system, scale), share, unit)
