"""Rounds to a table: a column for each system, with how many times Trunkline's its figure is."""

from dataclasses import dataclass
from statistics import median

from tests.bench.measure import Figures
from tests.bench.peers.cases import CANNOT, Case

Rounds = dict[str, list[Figures]]  # by system, a round each, in turn
OURS = "trunkline"
RIVAL = "litellm"  # whom the targets bind


@dataclass(frozen=True)
class Row:
    """A line of the table. LiteLLM's figure is to be at least `must` times ours, or `stretch`."""

    case: str
    label: str
    key: str
    digits: int
    must: float | None = None
    stretch: float | None = None
    added: bool = False  # what the system adds to asking the upstream directly
    total: bool = False  # the sum of all rounds, as one fault among many rounds counts


ROWS = (
    Row("ttft", "added time to first token p50, ms", "ttft_p50_ms", 2, 12, 20, added=True),
    Row("ttft", "added time to first token p99, ms", "ttft_p99_ms", 2, added=True),
    Row("ttft", "CPU per request, ms", "cpu", 2),
    Row("ttft", "lost, doubled, errors: all rounds", "bad", 0, total=True),
    Row("short", "CPU per request, ms", "cpu", 2, 50, 90),
    Row("short", "requests/s", "requests_per_s", 0),
    Row("short", "memory after it, without Redis, MiB", "rss_mib", 0, 2, 3),
    Row("short", "lost, doubled, errors: all rounds", "bad", 0, total=True),
    Row("whole", "CPU per request, ms", "cpu", 2),
    Row("whole", "requests/s", "requests_per_s", 0),
    Row("whole", "lost, doubled, errors: all rounds", "bad", 0, total=True),
    Row("burst", "CPU per token, µs", "cpu", 1, 100, 150),
    Row("burst", "tokens/s", "tokens_per_s", 0),
    Row("burst", "lost, doubled, errors: all rounds", "bad", 0, total=True),
    Row("paced", "CPU per token, µs", "cpu", 0, 8, 12),
    Row("paced", "delay of a token p50, ms", "delay_p50_ms", 2),
    Row("paced", "delay of a token p99, ms", "delay_p99_ms", 2),
    Row("paced", "lost, doubled, errors: all rounds", "bad", 0, total=True),
    Row("few", "CPU per token, µs", "cpu", 0),
    Row("few", "delay of a token p50, ms", "delay_p50_ms", 2),
    Row("few", "delay of a token p99, ms", "delay_p99_ms", 2),
    Row("few", "lost, doubled, errors: all rounds", "bad", 0, total=True),
)


def table(cases: list[Case], systems: list[str], results: dict[str, Rounds]) -> str:
    """All rows of the cases that ran, as Markdown."""
    shown = [name for name in systems if name != "direct"]
    parts = []
    for case in cases:
        lines = [["figure", *shown, f"target against {RIVAL}", ""]]
        lines += [_line(row, shown, results[case.name]) for row in ROWS if row.case == case.name]
        parts.append(f"**{case.name}**: {case.title}\n\n{_aligned(lines)}")
    return "\n\n".join(parts)


def _line(row: Row, systems: list[str], rounds: Rounds) -> list[str]:
    cells = [_cell(row, name, rounds) for name in systems]
    return [row.label, *cells, *_verdict(row, rounds)]


def _cell(row: Row, name: str, rounds: Rounds) -> str:
    values = _values(row, rounds, name)
    if cannot := CANNOT.get((row.case, name)):
        return "" if row.total else cannot
    if not values:
        return ""
    figure = f"{sum(values) if row.total else median(values):,.{row.digits}f}"
    ratio = None if row.total or name == OURS else ratio_to_ours(row, rounds, name)
    return figure if ratio is None else f"{figure} ({_short(ratio)} ×)"


def _verdict(row: Row, rounds: Rounds) -> tuple[str, str]:
    if row.must is None or row.stretch is None:
        return "", ""
    target = f"≥ {row.must:g} × ({row.stretch:g} ×)"
    ratio = ratio_to_ours(row, rounds, RIVAL)
    if ratio is None:
        return target, ""
    if ratio < row.must:
        return target, "MISSED"
    return target, "must met" if ratio < row.stretch else "stretch met"


def ratio_to_ours(row: Row, rounds: Rounds, name: str) -> float | None:
    """The median of the ratios within each round: noise that both felt falls out."""
    theirs, ours = _values(row, rounds, name), _values(row, rounds, OURS)
    ratios = [a / b for a, b in zip(theirs, ours, strict=False) if b > 0]
    return median(ratios) if ratios else None


def _values(row: Row, rounds: Rounds, name: str) -> list[float]:
    found = [figures[row.key] for figures in rounds.get(name, [])]
    if not row.added:
        return found
    direct = [figures[row.key] for figures in rounds.get("direct", [])]
    return [value - base for value, base in zip(found, direct, strict=False)]


def _short(ratio: float) -> str:
    """To two digits that count."""
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(*map(len, column), 2) for column in zip(*rows, strict=True)]
    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    lines = []
    for first, *rest in [rows[0], rule, *rows[1:]]:
        padded = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("| " + " | ".join([first.ljust(widths[0]), *padded]) + " |")
    return "\n".join(lines)
