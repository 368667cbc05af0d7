"""`python -m tests.bench.peers`: Trunkline beside those that offer what it offers, in rounds."""

import argparse
import json
import resource
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.bench.machine import machine
from tests.bench.measure import Figures
from tests.bench.peers.cases import CASES, Case
from tests.bench.peers.environment import PYTHON, Unavailable, install, lock_of, pins
from tests.bench.peers.report import Rounds, table
from tests.bench.peers.system import FORGETS_NOTHING, LOCKED, SYSTEMS
from tests.bench.system import System, upstream


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description=__doc__)
    names = [case.name for case in CASES]
    parser.add_argument("--rounds", type=int, default=3, help="of each case (default: 3)")
    parser.add_argument("--cases", nargs="+", choices=names, default=names, metavar="CASE",
                        help=f"which of: {', '.join(names)} (default: all)")  # fmt: skip
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS),
                        metavar="SYSTEM", help=f"which of: {', '.join(SYSTEMS)}")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures too")
    parser.add_argument("--python", metavar="PATH", default=PYTHON,
                        help=f"of the peers' environments (default: {PYTHON} on PATH)")  # fmt: skip
    return parser.parse_args()


class Bench:
    """Systems that stand from their first case to the end; those that fall out say why."""

    def __init__(self, stack: ExitStack, systems: list[str]) -> None:
        self._stack = stack
        self._upstream = stack.enter_context(upstream())
        self._standing: dict[str, System] = {}
        self.systems = systems
        self.missing: dict[str, str] = {}

    def leave_out(self, name: str, why: Unavailable) -> None:
        self.systems.remove(name)
        self.missing[name] = str(why)
        _say(f"{name} is left out: {why}")

    def round(self, case: Case) -> dict[str, Figures]:
        """One after the other, each that takes part in the case."""
        figures = {}
        for name in [name for name in self.systems if name in case.requests]:
            _say(f"  {name}")
            try:
                figures[name] = self._measure(case, name)
            except Unavailable as why:
                self.leave_out(name, why)
        return figures

    def _measure(self, case: Case, name: str) -> Figures:
        if name in FORGETS_NOTHING:
            with SYSTEMS[name](self._upstream, [case.model]) as system:
                return case.measure(case, system)
        if name not in self._standing:
            models = list(dict.fromkeys(each.model for each in CASES))
            start = SYSTEMS[name](self._upstream, models)
            self._standing[name] = self._stack.enter_context(start)
        return case.measure(case, self._standing[name])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _install(bench: Bench, python: str) -> None:
    for name in LOCKED:
        if name in bench.systems:
            try:
                install(name, python)
            except Unavailable as why:
                bench.leave_out(name, why)


def _main() -> None:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the children are ended
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    cases = [case for case in CASES if case.name in arguments.cases]
    results: dict[str, Rounds] = {case.name: {} for case in cases}
    with ExitStack() as stack:
        bench = Bench(stack, list(arguments.systems))
        _install(bench, arguments.python)
        about = machine()
        for case in cases:
            for number in range(arguments.rounds):
                _say(f"{case.name} {number + 1}/{arguments.rounds}")
                for name, figures in bench.round(case).items():
                    results[case.name].setdefault(name, []).append(figures)
    versions = {name: pins(lock_of(name))[LOCKED[name]] for name in LOCKED}
    head = {**about, **versions}
    print(f"{arguments.rounds} rounds; " + ", ".join(f"{k} {v}" for k, v in head.items()))
    print("\n" + table(cases, bench.systems, results))
    for name, why in bench.missing.items():
        print(f"\n{name} was not measured: {why}")
    if arguments.json:
        report = {"machine": about, "versions": versions, "rounds": arguments.rounds}
        report |= {"missing": bench.missing, "results": results}
        arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    _main()
