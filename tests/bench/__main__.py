"""`python -m tests.bench`: Trunkline beside a bare relay, in rounds, as a table and as JSON.

5 rounds of all cases take about 20 minutes, --quick about 2. Nothing else should run meanwhile.
"""

import argparse
import json
import resource
import signal
import sys
from pathlib import Path

from tests.bench.cases import CASES, QUICK, Scale
from tests.bench.machine import machine
from tests.bench.report import summary, table
from tests.bench.rounds import run
from tests.bench.system import SYSTEMS


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    names = [case.name for case in CASES]
    parser.add_argument("--rounds", type=int, default=5, help="of each case (default: 5)")
    parser.add_argument("--cases", nargs="+", choices=names, default=names, metavar="CASE",
                        help=f"which of: {', '.join(names)} (default: all)")  # fmt: skip
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS),
                        metavar="SYSTEM", help=f"which of: {', '.join(SYSTEMS)}")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="write the machine, all rounds, medians, ratios")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="one short round of less")
    return parser.parse_args()


def as_measured() -> None:
    """What every measuring process needs: room for files, and children that end with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _main() -> None:
    arguments = _arguments()
    as_measured()
    cases = [case for case in CASES if case.name in arguments.cases]
    scale, rounds = (QUICK, 1) if arguments.quick else (Scale(), arguments.rounds)
    about = machine()
    results = run(cases, arguments.systems, rounds, scale)
    print(f"{rounds} rounds; " + ", ".join(f"{name} {value}" for name, value in about.items()))
    print("\n" + table(cases, results))
    if arguments.json:
        report = {"machine": about, "rounds": rounds, "results": results}
        report["summary"] = summary(cases, results)
        arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    _main()
