"""`python -m tests.bench.instructions CASE`: the instructions of each process for a request.

Valgrind's callgrind counts them in one process after the other. They come out the same within 1 %
however busy the machine is, where time moves by a third: what a change saves is seen at once.
They are not time: none of the kernel's is among them, and one that waits for memory counts as any.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tests.bench.__main__ import as_measured
from tests.bench.case import Case, Scale
from tests.bench.cases import CASES
from tests.bench.measure import load
from tests.bench.system import System, relay, trunkline, upstream

_PROCESSES = ("relay", "api", "worker", "redis")
_WARM = 150  # requests before those that count
_TOTALS = re.compile(r"^totals: (\d+)", re.MULTILINE)


def counted(dumps: Iterable[str]) -> int:
    """The instructions in callgrind's files."""
    return sum(int(found[1]) for dump in dumps if (found := _TOTALS.search(dump)))


def _ask(system: System, case: Case, scale: Scale, requests: int) -> None:
    assert case.load is not None
    with load(replace(case.load(system, scale), requests=requests, warmup=0)) as running:
        running.begin()
        figures = running.result()
    if figures["bad"]:
        raise SystemExit(f"not all requests were answered well: {figures}")


def _count(name: str, case: Case, requests: int, out: Path) -> float:
    """Instructions that the process takes for one request."""
    files = out / f"{name}.out"
    callgrind = ("valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet")
    under = {name: (*callgrind, f"--callgrind-out-file={files}", f"--log-file={out / name}.log")}
    scale = Scale()
    with upstream() as port:
        start = relay if name == "relay" else trunkline
        with start(port, scale.models, under=under) as system:
            _ask(system, case, scale, _WARM)
            _control("--instr=on", system.pids[name])
            _ask(system, case, scale, requests)
            _control("--instr=off", system.pids[name])
            _control("--dump=end", system.pids[name])
    return counted(each.read_text() for each in out.glob(f"{files.name}*")) / requests


def _control(what: str, pid: int) -> None:
    subprocess.run(["callgrind_control", what, str(pid)], check=True, capture_output=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.instructions", description=__doc__)
    names = [case.name for case in CASES if case.load]
    parser.add_argument("case", choices=names, metavar="CASE", help=f"one of: {', '.join(names)}")
    parser.add_argument("--processes", nargs="+", choices=_PROCESSES, default=_PROCESSES,
                        metavar="PROCESS", help=f"which of: {', '.join(_PROCESSES)}")  # fmt: skip
    parser.add_argument("--requests", type=int, default=640, help="that are counted (default: 640)")
    return parser.parse_args()


def _main() -> None:
    arguments = _arguments()
    if shutil.which("callgrind_control") is None:
        raise SystemExit("callgrind is not on PATH: install the system's package `valgrind`")
    as_measured()
    (case,) = [case for case in CASES if case.name == arguments.case]
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="trunkline-instructions-") as directory:
        for name in arguments.processes:
            found[name] = _count(name, case, arguments.requests, Path(directory))
            print(f"{name:10} {found[name]:11,.0f}", flush=True)
    ours = sum(count for name, count in found.items() if name != "relay")
    print(f"{'trunkline':10} {ours:11,.0f}")
    if "relay" in found:
        print(f"{'ratio':10} {ours / found['relay']:11.2f}")


if __name__ == "__main__":
    _main()
