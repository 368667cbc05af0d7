"""One load against one system, and what it cost."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from tests.bench.process import module, process
from tests.bench.spec import Spec
from tests.bench.system import System

Figures = dict[str, float]


class Running:
    """A load generator's process that is warm: `begin` starts it, `result` waits for it."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._input = child.stdin
        self._output = child.stdout
        self.by_tenth: dict[int, int] = {}  # with the result: tokens by tenths of monotonic time
        if self._output.readline() != "ready\n":
            raise SystemExit("the load generator failed")

    def begin(self) -> None:
        self._input.write("\n")
        self._input.flush()

    def result(self) -> Figures:
        """The tally's numbers; `bad` counts what came wrong in any way."""
        summary = json.loads(self._output.readline())
        self.by_tenth = {int(tenth): n for tenth, n in summary.pop("by_tenth").items()}
        first_errors = summary.pop("first_errors")
        if first_errors:
            print(f"  {summary['errors']} errors, the first: {first_errors}", flush=True)
        figures = {name: float(value) for name, value in summary.items()}
        figures["bad"] = figures["lost"] + figures["doubled"] + figures["errors"]
        return figures


@contextmanager
def load(spec: Spec) -> Iterator[Running]:
    """A generator that is warm; it is ended with the block, whatever it still holds open."""
    with process(*module("tests.bench.load", json.dumps(asdict(spec)))) as child:
        yield Running(child)


def cost(system: System, spec: Spec, per: str, unit: float) -> Figures:
    """Run a load. CPU (seconds times `unit`) and Redis calls are per `requests` or `tokens`."""
    with load(spec) as running:
        before = _Reading(system)
        running.begin()
        figures = running.result()
        after = _Reading(system)
    return figures | after.since(before, 1 / max(figures[per], 1), unit)


def steady_cost(
    system: System,
    spec: Spec,
    tokens_per_s: float,
    window_s: tuple[float, float],
    unit: float,
    at_end: Callable[[], Figures] = dict,
) -> Figures:
    """The same per token that arrives between two moments at which all streams run.

    `kept_up` is the share that these are of `tokens_per_s`, the rate of the upstream; `at_end`
    adds figures of the last of the two moments.
    """
    with load(spec) as running:
        running.begin()
        first, before = _at_tenth(window_s[0]), _Reading(system)
        last, after = _at_tenth(window_s[1] - window_s[0]), _Reading(system)
        seen = at_end()
        figures = running.result()
    arrived = sum(running.by_tenth.get(tenth, 0) for tenth in range(first, last))
    figures |= seen | after.since(before, 1 / max(arrived, 1), unit)
    return {**figures, "kept_up": arrived / (tokens_per_s * (last - first) / 10)}


def _at_tenth(seconds: float) -> int:
    """Sleeps about so long, until a tenth of a second begins, and tells which."""
    tenth = round(10 * (time.monotonic() + seconds))
    time.sleep(max(tenth / 10 - time.monotonic(), 0))
    return tenth


class _Reading:
    """What a system's processes have used so far."""

    def __init__(self, system: System) -> None:
        self.cpu = system.cpu()
        self.calls = system.commands()

    def since(self, before: "_Reading", share: float, unit: float) -> Figures:
        spent = {name: after - before.cpu[name] for name, after in self.cpu.items()}
        made = {name: after - before.calls.get(name, 0) for name, after in self.calls.items()}
        figures = {"cpu": sum(spent.values()) * unit * share} if spent else {}
        figures |= {f"cpu.{name}": seconds * unit * share for name, seconds in spent.items()}
        if made:
            figures["redis_bytes"] = made.pop("bytes") * share
            figures["redis_calls"] = sum(made.values()) * share
            figures |= {f"redis_calls.{n}": c * share for n, c in made.items() if c > 0}
        return figures


def idle(system: System, seconds: float) -> Figures:
    """CPU milliseconds and Redis calls a second while nothing is asked."""
    cpu, calls, begun = system.cpu(), system.commands(), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - begun
    figures = {f"idle_ms.{n}": 1e3 * (s - cpu[n]) / took for n, s in system.cpu().items()}
    made = {name: after - calls.get(name, 0) for name, after in system.commands().items()}
    if made:
        del made["bytes"]
        figures["idle_redis_calls"] = sum(made.values()) / took
    return figures


def until(reached: Callable[[], bool], timeout_s: float) -> float:
    """Seconds until it was so, or until the time was over."""
    begun = time.monotonic()
    while not reached() and time.monotonic() - begun < timeout_s:
        time.sleep(0.02)
    return time.monotonic() - begun
