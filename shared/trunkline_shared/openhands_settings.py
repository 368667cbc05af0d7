"""The variables of OpenHands' agent-server that say what settings of ours say."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson


def from_openhands(environ: Mapping[str, str]) -> dict[str, str | list[str]]:
    """`environ` as our own variables, as far as it has them under OpenHands' names; what are
    comma lists with us as lists, since a key may have a comma there.

    As there, indexed session keys win over the single one, and the first session key is the
    secret key where no other is given.
    """
    session_keys = session_api_keys(environ)
    secret_key = environ.get("OH_SECRET_KEY") or next(iter(session_keys), "")
    found: dict[str, str | list[str]] = {
        "TRUNKLINE_SESSION_API_KEY": session_keys,
        "TRUNKLINE_SECRET_KEY": secret_key,
        "TRUNKLINE_PREVIOUS_SECRET_KEYS": _many(environ, "OH_PREVIOUS_SECRET_KEYS"),
        "TRUNKLINE_CORS_ORIGINS": _many(environ, "OH_ALLOW_CORS_ORIGINS"),
        "TRUNKLINE_WEBHOOKS": environ.get("OH_WEBHOOKS") or _webhooks(environ),
    }
    return {name: value for name, value in found.items() if value}


def session_api_keys(environ: Mapping[str, str]) -> list[str]:
    """`OH_SESSION_API_KEYS_<n>` in their order, else `SESSION_API_KEY`; empty ones do not count."""
    return _many(environ, "OH_SESSION_API_KEYS") or [*_filled([environ.get("SESSION_API_KEY", "")])]


def is_openhands_key(name: str) -> bool:
    """Whether a variable of this name holds a key of our callers."""
    return (
        name == "SESSION_API_KEY" or re.fullmatch(r"OH_SESSION_API_KEYS(_\d+)?", name) is not None
    )


def _webhooks(environ: Mapping[str, str]) -> str:
    """`OH_WEBHOOKS_<n>_<FIELD>` as the list that `OH_WEBHOOKS` would be."""
    specs: dict[int, dict[str, Any]] = {}
    for variable, value in environ.items():
        if match := re.fullmatch(r"OH_WEBHOOKS_(\d+)_([A-Z_]+)", variable):
            field = match[2].lower()
            spec = specs.setdefault(int(match[1]), {})
            spec[field] = _parsed(value) if field == "headers" else value
    return orjson.dumps([spec for _, spec in sorted(specs.items())]).decode() if specs else ""


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text  # for whoever checks it to refuse


def _many(environ: Mapping[str, str], name: str) -> list[str]:
    indexed = sorted(
        (int(match[1]), value)
        for variable, value in environ.items()
        if (match := re.fullmatch(rf"{name}_(\d+)", variable))
    )
    values = [*_filled(value for _, value in indexed)]
    return values or [*_filled(listed(environ.get(name, "")))]


def listed(text: str) -> list[str]:
    """The members of a JSON list of strings, or of a comma list; other JSON is one member."""
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text.split(",")
    is_list = isinstance(values, list) and all(isinstance(value, str) for value in values)
    return values if is_list else [text]


def _filled(values: "Iterator[str] | list[str]") -> Iterator[str]:
    return (value.strip() for value in values if value.strip())
