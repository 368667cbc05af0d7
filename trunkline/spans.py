"""Spans of time as people type them."""

import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {"d": timedelta(days=1), "h": timedelta(hours=1)}


def seconds_of(given: str) -> int | None:
    """Of `30d` or `12h`; None for anything else."""
    span = re.fullmatch(r"([0-9]{1,5})([dh])", given)
    return int(int(span[1]) * _UNITS[span[2]].total_seconds()) if span else None
