"""Reads the configuration file: YAML, variables, then values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from trunkline_shared.config.complaint import unknown_key, wrong_value
from trunkline_shared.config.document import Document, Where
from trunkline_shared.config.interpolate import holds_variable, interpolate
from trunkline_shared.config.models import (
    ECHO_MODELS,
    AgentConfig,
    Config,
    EchoSettings,
    Limits,
    ModelSettings,
)
from trunkline_shared.errors import ConfigError

RESOLVED_IN_WORKERS = ("model", "base_url", "api_key", "settings")
"""Keys of an agent whose variables the API process neither needs nor sees."""

_KEYS: dict[str, type[BaseModel]] = {
    "echo": EchoSettings,
    "limits": Limits,
    "settings": ModelSettings,
}


def load_config(source: Path | Mapping[str, Any], environ: Mapping[str, str]) -> Config:
    """The agents of a file, or of values of the same shape.

    Raises ConfigError, one line, for the first thing that is wrong.

    Variables are replaced, except in `RESOLVED_IN_WORKERS`.
    """
    document = Document(source)
    values = document.values
    if values is not None and not isinstance(values, dict):
        raise document.error((), "expected a mapping with the key 'agents'")
    for key in values or {}:
        if key != "agents":
            raise document.error((key,), unknown_key(key, ["agents"]), named=())
    agents = values.get("agents") if values else None
    if not agents:
        raise document.error(
            ("agents",), "names no agent; for example: agents: {hello: {model: echo}}"
        )
    if not isinstance(agents, dict):
        raise document.error(("agents",), "expected a mapping of names to agents")
    return Config(
        path=document.path,
        agents={name: _agent(document, name, agents[name], environ) for name in agents},
    )


def _agent(document: Document, name: Any, values: Any, environ: Mapping[str, str]) -> AgentConfig:
    where = ("agents", name)
    if not isinstance(name, str):
        raise document.error(where, "the name of an agent is a text; put it in quotes")
    if not isinstance(values, dict):
        raise document.error(where, "expected a mapping, for example {model: echo}")
    if "name" in values:  # a field, but its value is the key
        raise document.error((*where, "name"), unknown_key("name", _agent_keys()), named=where)
    values = {
        # a key with nothing behind it, as when all of a section is commented out
        key: _interpolated(document, (*where, key), value, environ)
        for key, value in values.items()
        if value is not None or key not in AgentConfig.model_fields
    }
    if _is_echo(values.get("model"), environ) and values.get("type", "chat") in ("chat", "native"):
        values["type"] = "echo"
    try:
        return AgentConfig.model_validate({**values, "name": name})
    except ValidationError as error:
        raise _first(document, where, error.errors(include_url=False)) from None


def _interpolated(
    document: Document, where: tuple[str | int, ...], value: Any, environ: Mapping[str, str]
) -> Any:
    if where[-1] in RESOLVED_IN_WORKERS and len(where) == 3:
        return value
    if isinstance(value, dict):
        return {k: _interpolated(document, (*where, k), v, environ) for k, v in value.items()}
    if isinstance(value, list):
        return [_interpolated(document, (*where, i), v, environ) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value
    try:
        return interpolate(value, environ)
    except ValueError as error:
        raise document.error(where, str(error)) from None


def _is_echo(model: Any, environ: Mapping[str, str]) -> bool:
    if not (isinstance(model, str) and holds_variable(model)):
        return model in ECHO_MODELS
    try:
        return interpolate(model, environ).strip() in ECHO_MODELS
    except ValueError:
        return False  # a variable that only workers have


def _first(document: Document, agent: Where, errors: list[ErrorDetails]) -> ConfigError:
    located = [((*agent, *_without_name(error)), error) for error in errors]
    # a misspelt key first: it also explains what then seems to be missing
    where, error = min(
        located, key=lambda each: (each[1]["type"] != "extra_forbidden", document.line(each[0]))
    )
    if error["type"] == "extra_forbidden":
        *around, key = where
        model = _KEYS.get(str(around[-1])) if len(around) > 2 else None
        known = list(model.model_fields) if model else _agent_keys()
        return document.error(where, unknown_key(key, known), named=around)
    return document.error(where, wrong_value(error))


def _without_name(error: ErrorDetails) -> tuple[int | str, ...]:
    return () if error["loc"] == ("name",) else error["loc"]


def _agent_keys() -> list[str]:
    return [key for key in AgentConfig.model_fields if key != "name"]
