"""Rounds to medians, medians to a table with the targets beside them."""

import importlib.metadata
import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Literal

from tests.bench.cases import Case
from tests.bench.measure import Figures
from tests.fakes.redis_server import binary_for_tests

Rounds = dict[str, list[Figures]]  # by system, a round each, in turn
_VERSIONS = ("redis", "hiredis", "uvicorn", "uvloop", "httptools", "aiohttp", "fastapi", "orjson")


@dataclass(frozen=True)
class Row:
    """A line of the table. A target binds trunkline's ratio to the relay, or its value."""

    case: str
    label: str
    key: str
    digits: int = 1
    target: float | None = None
    binds: Literal["ratio", "value"] = "value"
    added: bool = False  # what the system adds to asking the upstream directly
    total: bool = False  # the sum of all rounds, as one fault among many rounds counts


ROWS = (
    Row("ttft", "added time to first token p50, ms", "ttft_p50_ms", 2, 5.0, added=True),
    Row("ttft", "added time to first token p99, ms", "ttft_p99_ms", 2, added=True),
    Row("ttft", "time to first token p50, ms", "ttft_p50_ms", 2),
    Row("ttft", "CPU per request, ms", "cpu", 2),
    Row("ttft", "Redis calls per run, in scripts too", "redis_calls"),
    Row("ttft", "Redis scripts called per run", "redis_calls.evalsha"),
    Row("short", "CPU per request, ms", "cpu", 2, 6.0, "ratio"),
    Row("short", "  of the API process", "cpu.api", 2),
    Row("short", "  of the worker", "cpu.worker", 2),
    Row("short", "  of Redis", "cpu.redis", 2),
    Row("short", "requests/s", "requests_per_s", 0),
    Row("short", "Redis calls per run, in scripts too", "redis_calls"),
    Row("short", "Redis bytes per run, in and out", "redis_bytes", 0),
    Row("short", "lost, doubled, errors: all rounds", "bad", 0, 0.0, total=True),
    Row("burst", "CPU per token, µs", "cpu", 1, 6.0, "ratio"),
    Row("burst", "  of the API process", "cpu.api"),
    Row("burst", "  of the worker", "cpu.worker"),
    Row("burst", "  of Redis", "cpu.redis", 2),
    Row("burst", "tokens/s", "tokens_per_s", 0),
    Row("burst", "Redis calls per token", "redis_calls", 3),
    Row("burst", "lost, doubled, errors: all rounds", "bad", 0, 0.0, total=True),
    Row("paced", "CPU per token, µs", "cpu", 1, 2.5, "ratio"),
    Row("paced", "  of the API process", "cpu.api"),
    Row("paced", "  of the worker", "cpu.worker"),
    Row("paced", "  of Redis", "cpu.redis"),
    Row("paced", "tokens/s", "tokens_per_s", 0),
    Row("paced", "delay of a token p50, ms", "delay_p50_ms"),
    Row("paced", "delay of a token p99, ms", "delay_p99_ms"),
    Row("paced", "Redis calls per token", "redis_calls", 3),
    Row("paced", "Redis bytes per token, in and out", "redis_bytes", 0),
    Row("paced", "lost, doubled, errors: all rounds", "bad", 0, 0.0, total=True),
    Row("held", "time to first token p50, ms", "ttft_p50_ms", 2, 10.0),
    Row("held", "time to first token p99, ms", "ttft_p99_ms", 2),
    Row("held", "runs held", "held", 0),
    Row("held", "all gone after their clients, s", "left_after_s", 2),
    Row("held", "memory per open stream, KiB: relay", "kib.relay"),
    Row("held", "  of the API process", "kib.api"),
    Row("held", "  of the worker", "kib.worker"),
    Row("held", "  of Redis, its keys", "kib.keys"),
    Row("held", "idle API, CPU ms/s", "idle_ms.api"),
    Row("held", "idle worker, CPU ms/s", "idle_ms.worker"),
    Row("held", "idle Redis, calls/s", "idle_redis_calls", 0),
    Row("held", "lost, doubled, errors: all rounds", "bad", 0, 0.0, total=True),
)


def table(cases: list[Case], results: dict[str, Rounds]) -> str:
    """All rows of the cases that ran, aligned, as Markdown."""
    head = ["figure", "direct", "relay", "trunkline", "ratio", "target", ""]
    parts = []
    for case in cases:
        rounds = results[case.name]
        lines = [_line(row, rounds) for row in ROWS if row.case == case.name]
        parts.append(f"**{case.name}**: {case.title}\n\n" + _aligned([head, *lines]))
    return "\n\n".join(parts)


def _line(row: Row, rounds: Rounds) -> list[str]:
    fold = sum if row.total else _middle
    middles = {name: fold(_values(row, rounds, name)) for name in rounds}
    shown = [_number(middles.get(name), row.digits) for name in ("direct", "relay", "trunkline")]
    ratio = _ratio(row, rounds)
    if row.target is None:
        return [row.label, *shown, _number(ratio, 2), "", ""]
    limit = f"≤ {row.target:g}" + (" ×" if row.binds == "ratio" else "")
    value = ratio if row.binds == "ratio" else middles.get("trunkline")
    verdict = "" if value is None else "met" if value <= row.target else "MISSED"
    return [row.label, *shown, _number(ratio, 2), limit, verdict]


def _values(row: Row, rounds: Rounds, name: str) -> list[float]:
    found = [figures[row.key] for figures in rounds.get(name, []) if row.key in figures]
    if not row.added:
        return found
    if name == "direct":
        return []
    direct = [figures[row.key] for figures in rounds.get("direct", [])]
    return [value - base for value, base in zip(found, direct, strict=False)]


def _ratio(row: Row, rounds: Rounds) -> float | None:
    """The median of the ratios within each round: noise that both felt falls out."""
    ours, floor = (_values(row, rounds, name) for name in ("trunkline", "relay"))
    return _middle([a / b for a, b in zip(ours, floor, strict=False) if b > 0])


def _middle(values: list[float]) -> float | None:
    return median(values) if values else None


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rule = ["-" * widths[0]] + ["-" * (w - 1) + ":" for w in widths[1:]]
    rule = [cell if len(cell) > 1 else "-:" for cell in rule]
    lines = []
    for row in [rows[0], rule, *rows[1:]]:
        cells = [
            row[0].ljust(widths[0]),
            *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    server = [binary_for_tests(), "--version"]
    version = subprocess.run(server, capture_output=True, text=True, check=True)
    names = (
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    load_1, load_5, _ = os.getloadavg()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": next(names, platform.machine()),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "load": f"{load_1:.1f} {load_5:.1f}",
        "python": platform.python_version(),
        "server": version.stdout.split(" sha=")[0].strip(),
        **{name: importlib.metadata.version(name) for name in _VERSIONS},
    }
