"""Settings of `trunkline serve`, and settings as variables for child processes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline_shared.errors import ConfigError
from trunkline_shared.settings import VARIABLE_PREFIX, CommonSettings


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


def _text(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)
