"""Cases in rounds: within a round the systems are measured one after the other."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from tests.bench.case import Case, Scale
from tests.bench.report import Rounds
from tests.bench.system import SYSTEMS, Start, System, upstream


def run(
    cases: Sequence[Case],
    systems: Sequence[str],
    rounds: int,
    scale: Scale,
    starts: Mapping[str, Start] = SYSTEMS,
) -> dict[str, Rounds]:
    """Every round of every case, the systems in turn within a round.

    A system has no rounds of a case that it lacks the means for.
    """
    results: dict[str, Rounds] = {}
    with ExitStack() as stack:
        upstream_port = stack.enter_context(upstream())
        standing: dict[str, System] = {}
        for case in cases:
            taking_part = [name for name in case.systems if name in systems]
            results[case.name] = {name: [] for name in taking_part}
            for number in range(1 if case.once else rounds):
                for name in taking_part:
                    print(f"{case.name} {number + 1}/{rounds} {name}", file=sys.stderr, flush=True)
                    with ExitStack() as own:
                        start = starts[name](upstream_port, scale.models, **case.options)
                        if case.fresh:
                            system = own.enter_context(start)
                        else:
                            system = standing.get(name) or stack.enter_context(start)
                            standing[name] = system
                        if case.name not in system.lacks:
                            figures = case.measure(system, upstream_port, scale)
                            results[case.name][name].append(figures)
    return results
