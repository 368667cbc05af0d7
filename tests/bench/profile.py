"""`python -m tests.bench.profile CASE`: where Trunkline's processes spend a case's load.

Of each process a flame graph (SVG), and the shares of its functions as text. Needs py-spy.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tests.bench.__main__ import as_measured
from tests.bench.cases import CASES, Scale
from tests.bench.measure import load
from tests.bench.stages import in_order, stage_of
from tests.bench.system import trunkline, upstream

_LOCK = Path(__file__).with_name("profile.lock")
_RATE = "250"  # samples a second
_LINE = re.compile(r":\d+\)$")  # of a frame: without it a function counts as one
_SHOWN = 40  # functions
_BUSY_AFTER_S = 1.5
_FORMATS = {"flamegraph": "svg", "raw": "raw"}


def shares(stacks: Iterable[str]) -> str:
    """The stages of a run's way, the functions most at work, and those within which most of it is,
    in % of samples.

    `stacks` are py-spy's raw ones with threads. Only the main thread's count: others mostly sleep,
    which it takes for work.
    """
    alone, within, stages = Counter[str](), Counter[str](), Counter[str]()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        thread, *frames = [_LINE.sub(")", frame) for frame in stack.split(";")]
        if not thread.endswith("MainThread") or not frames:
            continue
        alone[frames[-1]] += int(count)
        stages[stage_of(frames)] += int(count)
        for frame in {*frames}:
            within[frame] += int(count)
    parts = [("self", alone), ("with what it calls", within)]
    tables = [_table(title, counts.most_common(_SHOWN), alone.total()) for title, counts in parts]
    return "\n\n".join([_table("stages", [*in_order(stages).items()], alone.total()), *tables])


def _table(title: str, counts: list[tuple[str, int]], samples: int) -> str:
    rows = [f"{100 * count / samples:5.1f} {name}" for name, count in counts]
    return "\n".join([f"{title}, % of {samples} samples", *rows])


def _py_spy() -> str:
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        install = f"(uv) pip install --require-hashes -r {_LOCK}"
        raise SystemExit(f"py-spy is neither in this environment nor on PATH: {install}")
    return found


def _record(py_spy: str, pids: dict[str, int], seconds: int, out: Path) -> None:
    """One format after the other: two that stop the same process at once would slow it."""
    for kind, suffix in _FORMATS.items():
        about = ["--threads", "--rate", _RATE, "--duration", str(seconds), "--format", kind]
        recorders = {
            name: subprocess.Popen(
                [py_spy, "record", *about, "--output", out / f"{name}.{suffix}", "--pid", str(pid)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for name, pid in pids.items()
        }
        for name, recorder in recorders.items():
            said, _ = recorder.communicate()
            if recorder.returncode:
                raise SystemExit(f"py-spy could not watch {name}:\n{said}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile", description=__doc__)
    names = [case.name for case in CASES if case.load]
    parser.add_argument("case", choices=names, metavar="CASE", help=f"one of: {', '.join(names)}")
    parser.add_argument("--seconds", type=int, default=8, help="of each recording (default: 8)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="default: trunkline-profile-CASE among the temporary files",
    )
    return parser.parse_args()


def _main() -> None:
    arguments = _arguments()
    py_spy = _py_spy()
    as_measured()
    place = Path(tempfile.gettempdir()) / f"trunkline-profile-{arguments.case}"
    out: Path = arguments.out or place
    out.mkdir(parents=True, exist_ok=True)
    (case,) = [case for case in CASES if case.name == arguments.case]
    lasts_s = len(_FORMATS) * (arguments.seconds + 3) + 20  # streams must outlive the recordings
    scale = Scale(paced_s=lasts_s, wide_s=lasts_s)
    with ExitStack() as stack:
        upstream_port = stack.enter_context(upstream())
        system = stack.enter_context(trunkline(upstream_port, scale.models))
        assert case.load is not None
        endless = replace(case.load(system, scale), requests=10**9)
        running = stack.enter_context(load(endless))
        running.begin()
        time.sleep(endless.ramp_s + _BUSY_AFTER_S)
        pids = {name: pid for name, pid in system.pids.items() if name != "redis"}
        _record(py_spy, pids, arguments.seconds, out)
    for name in pids:
        graph = out / f"{name}.svg"
        title = f">Trunkline, {name}, case {case.name}<"
        # py-spy's own is its command line, with the paths of this machine.
        graph.write_text(re.sub(r">[^<>]*py-spy record[^<>]*<", title, graph.read_text()))
        text = shares((out / f"{name}.raw").read_text().splitlines())
        (out / f"{name}.txt").write_text(text + "\n")
        print(f"== {name}: {graph}\n{text}\n")


if __name__ == "__main__":
    _main()
