"""`python -m tests.bench`: Trunkline beside a bare relay, in rounds, as a table and as JSON."""

import argparse
import json
import resource
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.bench.cases import CASES, QUICK, Case, Scale
from tests.bench.report import Rounds, machine, table
from tests.bench.system import SYSTEMS, System, upstream


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    names = [case.name for case in CASES]
    parser.add_argument("--rounds", type=int, default=5, help="of each case (default: 5)")
    parser.add_argument("--cases", nargs="+", choices=names, default=names, metavar="CASE",
                        help=f"which of: {', '.join(names)} (default: all)")  # fmt: skip
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS),
                        metavar="SYSTEM", help=f"which of: {', '.join(SYSTEMS)}")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures too")
    parser.add_argument("--quick", action="store_true", help="one short round, about a minute")
    return parser.parse_args()


def run(cases: list[Case], systems: list[str], rounds: int, scale: Scale) -> dict[str, Rounds]:
    """Every round of every case, the systems in turn within a round."""
    results: dict[str, Rounds] = {}
    with ExitStack() as stack:
        upstream_port = stack.enter_context(upstream())
        standing: dict[str, System] = {}
        for case in cases:
            taking_part = [name for name in case.systems if name in systems]
            results[case.name] = {name: [] for name in taking_part}
            for number in range(rounds):
                for name in taking_part:
                    print(f"{case.name} {number + 1}/{rounds} {name}", file=sys.stderr, flush=True)
                    with ExitStack() as own:
                        start = SYSTEMS[name](upstream_port, scale.models)
                        if case.fresh:
                            system = own.enter_context(start)
                        else:
                            system = standing.get(name) or stack.enter_context(start)
                            standing[name] = system
                        figures = case.measure(system, upstream_port, scale)
                    results[case.name][name].append(figures)
    return results


def _main() -> None:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the children are ended
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    cases = [case for case in CASES if case.name in arguments.cases]
    scale, rounds = (QUICK, 1) if arguments.quick else (Scale(), arguments.rounds)
    about = machine()
    results = run(cases, arguments.systems, rounds, scale)
    print(f"{rounds} rounds; " + ", ".join(f"{name} {value}" for name, value in about.items()))
    print("\n" + table(cases, results))
    if arguments.json:
        report = {"machine": about, "rounds": rounds, "results": results}
        arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    _main()
