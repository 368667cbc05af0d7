"""Runs that wait, for their model or with all their tokens said: what they hold."""

import time

from tests.bench.case import HOLD_S, Scale, spec
from tests.bench.measure import Figures, cost, idle, load, until
from tests.bench.spec import Spec
from tests.bench.system import System, stats, streams

_SETTLED_S = 3.0  # by then all is written, and Redis has shrunk the buffers of its clients


def waiting(system: System, scale: Scale) -> Spec:
    """As many runs as are held, each of which waits for its model."""
    number = scale.held
    timing = {"ramp_s": 2.0, "timeout_s": float(HOLD_S)}
    return spec(system, f"sleep-{HOLD_S}", connections=number, requests=number, **timing)


def held(system: System, upstream_port: int, scale: Scale) -> Figures:
    """Memory and idle work of waiting runs, and how soon one more begins."""
    number = scale.held
    probe = spec(system, "burst-1", requests=100, warmup=50)
    cost(system, probe, "requests", 1e3)
    rss, keys = system.rss(), system.redis_memory()
    with load(waiting(system, scale)) as running:
        running.begin()
        took = until(lambda: streams(upstream_port) >= number, 60)
        grown = {f"kib.{name}": (kib - rss[name]) / number for name, kib in system.rss().items()}
        keys = (system.redis_memory() - keys) / number
        figures = {"held": float(streams(upstream_port)), "held_after_s": took, "kib.keys": keys}
        resting = idle(system, scale.idle_s) if system.redis else {}
        figures |= cost(system, probe, "requests", 1e3) | resting | grown
    if system.watches_clients:
        figures["left_after_s"] = until(lambda: streams(upstream_port) == 0, 30)
    return figures


def in_flight(system: System, upstream_port: int, scale: Scale) -> Figures:
    """KB (1,000 bytes) of Redis' memory a run of 500 tokens that is not over, and of its keys."""
    number = scale.in_flight
    warm = spec(system, "burst-500", connections=8, requests=2 * number, warmup=20)
    figures = {"bad": cost(system, warm, "tokens", 1e6)["bad"]}
    kinds = {"burst": f"hold-500-{HOLD_S}", "paced": f"drip-500-50-{HOLD_S}"}
    for kind, model in kinds.items():
        time.sleep(_SETTLED_S)
        memory, keys = system.redis_memory(), system.redis_keys()
        timing = {"ramp_s": 1.0, "timeout_s": float(HOLD_S)}
        with load(spec(system, model, connections=number, requests=number, **timing)) as running:
            running.begin()
            until(lambda: stats(upstream_port)["holding"] >= number, 60)
            time.sleep(_SETTLED_S)
            figures[f"{kind}.held"] = float(stats(upstream_port)["holding"])
            kib = {"memory": system.redis_memory() - memory, "keys": system.redis_keys() - keys}
            figures |= {f"{kind}.{name}": 1.024 * grown / number for name, grown in kib.items()}
        until(lambda: streams(upstream_port) == 0, 30)
    return figures
