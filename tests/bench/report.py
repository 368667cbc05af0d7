"""Rounds to medians, medians to a table and to JSON, with the targets beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.bench.case import Case
from tests.bench.measure import Figures
from tests.bench.rows import ROWS, Row

Rounds = dict[str, list[Figures]]  # by system, a round each, in turn; none: it cannot do the case
COLUMNS = ("direct", "relay", "trunkline")


@dataclass(frozen=True)
class Line:
    """What all rounds say of one row. `ratio` is trunkline's to the relay."""

    row: Row
    middles: dict[str, float]
    ratio: float | None

    @property
    def verdict(self) -> str:
        """Whether the targets were met; nothing without a target or a value to hold to it."""
        row = self.row
        value = self.ratio if row.binds == "ratio" else self.middles.get("trunkline")
        if row.must is None or value is None:
            return ""
        if row.stretch is not None and value <= row.stretch:
            return "stretch met"
        return "must met" if value <= row.must else "MISSED"


def lines(case: Case, rounds: Rounds) -> list[Line]:
    """The rows of a case that any system has a value of."""
    found = [_line(row, rounds) for row in ROWS if row.case == case.name]
    return [line for line in found if line.middles]


def table(
    cases: Sequence[Case], results: dict[str, Rounds], columns: Sequence[str] = COLUMNS
) -> str:
    """All lines of the cases that ran, aligned, as Markdown, with a column for each system."""
    head = ["figure", *columns, "ratio", "must", "stretch", ""]
    parts = []
    for case in cases:
        rounds = results[case.name]
        shown = [_cells(line, rounds, columns) for line in lines(case, rounds)]
        parts.append(f"**{case.name}**: {case.title}\n\n" + _aligned([head, *shown]))
    return "\n\n".join(parts)


def summary(cases: Sequence[Case], results: dict[str, Rounds]) -> dict[str, Any]:
    """By case: the median of every figure of each system, and the table's lines with verdicts."""
    return {case.name: _summary(case, results[case.name]) for case in cases}


def _summary(case: Case, rounds: Rounds) -> dict[str, Any]:
    medians = {
        name: {key: median(_all(key, figures)) for key in sorted(set().union(*figures))}
        for name, figures in rounds.items()
    }
    ratios = {
        key: ratio
        for key in medians.get("trunkline", ())
        if (ratio := _ratio(Row(case.name, "", key), rounds)) is not None
    }
    told = [
        {
            "figure": line.row.label.strip(),
            "key": line.row.key,
            "medians": line.middles,
            "ratio": line.ratio,
            "binds": line.row.binds,
            "must": line.row.must,
            "stretch": line.row.stretch,
            "verdict": line.verdict,
        }
        for line in lines(case, rounds)
    ]
    return {"medians": medians, "ratios": ratios, "table": told}


def _line(row: Row, rounds: Rounds) -> Line:
    fold = sum if row.total else median
    values = {name: _values(row, rounds, name) for name in rounds}
    return Line(row, {n: fold(found) for n, found in values.items() if found}, _ratio(row, rounds))


def _all(key: str, rounds: list[Figures]) -> list[float]:
    return [figures[key] for figures in rounds if key in figures]


def _values(row: Row, rounds: Rounds, name: str) -> list[float]:
    found = _all(row.key, rounds.get(name, []))
    if not row.added:
        return found
    if name == "direct":
        return []
    direct = _all(row.key, rounds.get("direct", []))
    return [value - base for value, base in zip(found, direct, strict=False)]


def _ratio(row: Row, rounds: Rounds) -> float | None:
    """The median of the ratios within each round: noise that both felt falls out."""
    ours, floor = (_values(row, rounds, name) for name in ("trunkline", "relay"))
    ratios = [a / b for a, b in zip(ours, floor, strict=False) if b > 0]
    return median(ratios) if ratios else None


def _cells(line: Line, rounds: Rounds, columns: Sequence[str]) -> list[str]:
    row = line.row
    sign = " ×" if row.binds == "ratio" else ""
    targets = [f"≤ {each:g}{sign}" if each is not None else "" for each in (row.must, row.stretch)]
    values = [_value(line, rounds, name) for name in columns]
    ratio = "" if line.ratio is None else _number(line.ratio, 2)
    return [row.label, *values, ratio, *targets, line.verdict]


def _value(line: Line, rounds: Rounds, name: str) -> str:
    if name in line.middles:
        return _number(line.middles[name], line.row.digits)
    return "cannot" if rounds.get(name) == [] else "-"


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


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
