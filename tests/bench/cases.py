"""All cases, and those that are one load or a few after another."""

from dataclasses import replace
from typing import Any

from tests.bench.cancels import cancels
from tests.bench.case import BOTH, QUICK, Case, Scale, per, spec
from tests.bench.fleet import SLOTS, SLOTS_OF_MANY, filled, linear
from tests.bench.held import held, in_flight, waiting
from tests.bench.measure import Figures, cost, steady_cost
from tests.bench.spec import Spec
from tests.bench.system import System, streams
from tests.bench.trips import per_run, watched

__all__ = ["CASES", "QUICK", "Case", "Scale"]


def _ttft(system: System, scale: Scale) -> Spec:
    return spec(system, "burst-1", requests=scale.ttft_requests, warmup=50)


def _short(system: System, scale: Scale, **more: Any) -> Spec:
    requests = scale.short_requests
    return spec(system, "burst-16", connections=32, requests=requests, warmup=300, **more)


def _whole(system: System, scale: Scale) -> Spec:
    return _short(system, scale, ask="whole")


def _responses(system: System, scale: Scale) -> Spec:
    return _short(system, scale, ask="responses")


def _large(system: System, scale: Scale) -> Spec:
    requests = scale.large_requests
    said = {"transcript_bytes": 200_000}
    return spec(system, "burst-1", connections=8, requests=requests, warmup=30, **said)


def _burst(system: System, scale: Scale) -> Spec:
    return spec(system, "burst-500", connections=8, requests=scale.burst_requests, warmup=20)


def _paced(system: System, scale: Scale) -> Spec:
    number = scale.paced_streams
    timing = {"ramp_s": 1.0, "timeout_s": 120.0}
    return spec(system, scale.paced_model, connections=number, requests=number, **timing)


def _wide(system: System, scale: Scale) -> Spec:
    number = scale.wide_streams
    timing = {"ramp_s": scale.wide_ramp_s, "timeout_s": 120.0}
    return spec(system, scale.wide_model, connections=number, requests=number, **timing)


# Between the last start and the first end: starting and ending are the case `short`.
def _measure_paced(system: System, _upstream: int, scale: Scale) -> Figures:
    window_s = (1.5, scale.paced_s - 0.5)
    load = _paced(system, scale)
    return steady_cost(system, load, 20.0 * scale.paced_streams, window_s, 1e6)


def _measure_wide(system: System, upstream_port: int, scale: Scale) -> Figures:
    window_s = (scale.wide_ramp_s + 1.5, scale.wide_s - 0.5)
    load, rate = _wide(system, scale), 4.0 * scale.wide_streams

    def at_once() -> Figures:
        return {"held": float(streams(upstream_port))}

    return steady_cost(system, load, rate, window_s, 1e6, at_once)


def _measure_responses(system: System, _upstream: int, scale: Scale) -> Figures:
    """One after the other in the same round: chat, responses, and responses that are stored."""
    half = scale.short_requests // 2
    chat = cost(system, replace(_short(system, scale), requests=half), "requests", 1e3)
    unstored = replace(_responses(system, scale), requests=half)
    figures = cost(system, unstored, "requests", 1e3)
    stored = cost(system, replace(unstored, store=True), "requests", 1e3)
    return {
        **figures,
        "cpu.chat": chat["cpu"],
        "cpu.stored": stored["cpu"],
        "to_chat": figures["cpu"] / chat["cpu"],
        "stored_to_chat": stored["cpu"] / chat["cpu"],
        "bad": chat["bad"] + figures["bad"] + stored["bad"],
    }


def _measure_trips(system: System, _upstream: int, scale: Scale) -> Figures:
    assert system.redis is not None
    alone = spec(system, "burst-16", requests=scale.trips, warmup=20)
    with watched(system.redis) as counts:
        figures = cost(system, alone, "requests", 1e3)
    figures |= per_run(counts, scale.trips + 20)
    many = spec(system, "burst-16", connections=32, requests=5 * scale.trips, warmup=100)
    with watched(system.redis) as counts:
        busy = cost(system, many, "requests", 1e3)
    shared = per_run(counts, 5 * scale.trips + 100)
    figures |= {"busy.trips": shared["trips"], "busy.writes": shared["writes"]}
    return {**figures, "bad": figures["bad"] + busy["bad"]}


_OURS = ("trunkline",)
CASES = (
    Case("ttft", "one connection, one token", ("direct", *BOTH), per(_ttft, "requests", 1e3),
         load=_ttft),
    Case("short", "32 connections, 16 tokens at once", BOTH, per(_short, "requests", 1e3),
         load=_short),
    Case("whole", "the same, not streamed", BOTH, per(_whole, "requests", 1e3), load=_whole),
    Case("large", "8 connections, a transcript of 200 KB, one token", BOTH,
         per(_large, "requests", 1e3), load=_large),
    Case("responses", "as short, through /v1/responses", _OURS, _measure_responses,
         load=_responses),
    Case("trips", "what 16 tokens ask of Redis", _OURS, _measure_trips),
    Case("cancel", "responses in the background, cancelled while 50 run", _OURS, cancels),
    Case("burst", "8 connections, 500 tokens at once", BOTH, per(_burst, "tokens", 1e6),
         load=_burst),
    Case("paced", "1,000 streams of 20 tokens/s", BOTH, _measure_paced, load=_paced),
    Case("wide", "5,000 streams of 4 tokens/s", BOTH, _measure_wide, load=_wide),
    Case("held", "800 runs in progress, and one more", BOTH, held, fresh=True, load=waiting),
    Case("flight", "runs in progress that have said 500 tokens", _OURS, in_flight, fresh=True),
    Case("scale", f"1, 2 and 4 workers of {SLOTS} slots, runs that sleep 0.5 s", _OURS, linear,
         fresh=True, options={"slots": SLOTS}),
    Case("slots", f"40 workers of {SLOTS_OF_MANY} slots, all of them wanted at once", _OURS,
         filled, fresh=True, once=True, options={"slots": SLOTS_OF_MANY}),
)  # fmt: skip
