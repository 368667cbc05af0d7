"""Settings of `trunkline serve`, and settings as variables for child processes."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from trunkline_api.settings import ApiSettings
from trunkline_shared.errors import ConfigError
from trunkline_shared.settings import VARIABLE_PREFIX, CommonSettings
from trunkline_worker.settings import WorkerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings(CommonSettings):
    redis_url: str = ""  # empty: a Redis of our own, in the data directory
    data_dir: str = ""  # empty: below the user's state directory
    workers: int = 1  # worker processes beside the API process

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"--workers (TRUNKLINE_WORKERS): at least 1, got {self.workers}")

    def data_path(self, environ: Mapping[str, str]) -> Path:
        """`data_dir`, else `trunkline` below $XDG_STATE_HOME or ~/.local/state; absolute."""
        if self.data_dir:
            return Path(self.data_dir).expanduser().absolute()
        state = environ.get("XDG_STATE_HOME", "")
        # The specification of XDG tells to ignore relative paths.
        home = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
        return home / "trunkline"


def as_environ(options: Mapping[str, Any]) -> dict[str, str]:
    """Options that were given, as the variables that say the same."""
    return {
        VARIABLE_PREFIX + name.upper(): _text(value)
        for name, value in options.items()
        if value is not None
    }


def is_given(name: str, options: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Whether somebody chose this setting, by option or variable."""
    return options.get(name) is not None or bool(environ.get(VARIABLE_PREFIX + name.upper()))


def unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each TRUNKLINE_ variable that is a known one misspelt, as it seems.

    Others are left alone: Kubernetes sets TRUNKLINE_SERVICE_HOST and the like by itself.
    """
    known = {
        VARIABLE_PREFIX + field.name.upper()
        for settings in (ApiSettings, WorkerSettings, ServeSettings)
        for field in fields(settings)
    }
    for name in sorted(environ):
        if name.startswith(VARIABLE_PREFIX) and name not in known:
            for near in difflib.get_close_matches(name, known, n=1, cutoff=0.9):
                yield f"{name} is no setting and has no effect; did you mean {near}?"


def _text(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)
