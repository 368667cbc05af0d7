"""Many workers: whether twice as many do twice as much, and whether all slots are used."""

import time

from tests.bench.case import HOLD_S, Scale, spec
from tests.bench.measure import Figures, load, until
from tests.bench.system import System, stats, streams

SLOTS = 50  # of a worker: so few that they bound what it does, and not the CPU
SLOTS_OF_MANY = 25
_NAP_S = 0.5
_WORKERS = (1, 2, 4)
_STEADY_AFTER_S = 2.0


def linear(system: System, upstream_port: int, scale: Scale) -> Figures:
    """Runs a second by number of workers, and by how many % it is less than it should be."""
    figures: Figures = {"bad": 0.0}
    for workers in _WORKERS:
        assert system.grow is not None
        system.grow(workers)
        lasts_s = _STEADY_AFTER_S + scale.fleet_s + 2 * _NAP_S
        slots = SLOTS * workers
        # Twice as many want a slot as there are, and come one by one, so that runs end one by one.
        many = {"connections": 2 * slots, "requests": int(slots / _NAP_S * lasts_s), "ramp_s": 1.0}
        with load(spec(system, "nap-500", **many)) as running:
            running.begin()
            time.sleep(_STEADY_AFTER_S)
            begun, before = time.monotonic(), stats(upstream_port)["requests"]
            time.sleep(scale.fleet_s)
            done = stats(upstream_port)["requests"] - before
            figures[f"runs_per_s.{workers}"] = done / (time.monotonic() - begun)
            figures["bad"] += running.result()["bad"]
    one = figures["runs_per_s.1"]
    short_of = {n: 100 * (1 - figures[f"runs_per_s.{n}"] / (n * one)) for n in _WORKERS[1:]}
    figures |= {f"short_of_linear.{n}": percent for n, percent in short_of.items()}
    return {**figures, "short_of_linear": max(short_of.values())}


def filled(system: System, upstream_port: int, scale: Scale) -> Figures:
    """How many slots of all workers are in use at once, and how soon all of them were."""
    assert system.grow is not None
    system.grow(scale.fleet_workers)
    slots = SLOTS_OF_MANY * scale.fleet_workers
    wanted = spec(
        system, f"sleep-{HOLD_S}", connections=slots, requests=slots, timeout_s=float(HOLD_S)
    )
    with load(wanted) as running:
        running.begin()
        took = until(lambda: streams(upstream_port) >= slots, 60)
        used = float(streams(upstream_port))
    until(lambda: streams(upstream_port) == 0, 30)
    figures = {"slots": float(slots), "used": used, "unused": slots - used}
    return {**figures, "used_after_s": took}
