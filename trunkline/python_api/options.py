"""The arguments of a server as the settings of both tiers."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from trunkline_api.settings import ApiSettings
from trunkline_shared.errors import ConfigError
from trunkline_worker.settings import WorkerSettings

_Settings = TypeVar("_Settings", ApiSettings, WorkerSettings)

# Of a process: its log is the program's, and a worker serves the pools of its agents.
_NOT_HERE = frozenset({"log_format", "log_level", "pool", "cors_origins"})


def settings_from(
    options: Mapping[str, Any], *, api_key: str | Iterable[str] | None, cors: bool | Iterable[str]
) -> tuple[ApiSettings, WorkerSettings]:
    """No environment variable counts here: what a program says is what it gets.

    Raises TypeError for a name that is no setting, ConfigError for a value that does not fit.
    """
    known = {each.name for each in (*fields(ApiSettings), *fields(WorkerSettings))} - _NOT_HERE
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"OpenAIAPIServer has no setting {name!r}{hint}")
    values = {name: value for name, value in options.items() if value is not None}
    values |= {"api_key": _keys(api_key), "cors_origins": _origins(cors)}
    return _validated(ApiSettings, values), _validated(WorkerSettings, values)


def _keys(given: str | Iterable[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    keys = (given,) if isinstance(given, str) else tuple(given)
    if not keys or not all(isinstance(key, str) and key.strip() for key in keys):
        # No keys would be an open door, which nobody means who names some.
        raise ConfigError("api_key: expected a text or several, none of them empty; None for none")
    return keys


def _origins(cors: bool | Iterable[str]) -> tuple[str, ...]:
    if isinstance(cors, bool):
        return ("*",) if cors else ()
    return (cors,) if isinstance(cors, str) else tuple(cors)


def _validated(settings: type[_Settings], values: Mapping[str, Any]) -> _Settings:
    own = {each.name: each for each in fields(settings)}
    given = {name: value for name, value in values.items() if name in own}
    try:
        return TypeAdapter(settings).validate_python(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        shown = f", got {values[name]!r}" if own[name].repr else ""
        raise ConfigError(f"{name}: {first['msg']}{shown}") from None
