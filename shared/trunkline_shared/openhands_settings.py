"""The variables of OpenHands' agent-server that say what settings of ours say."""

import re
from collections.abc import Iterator, Mapping

import orjson

from trunkline_shared.errors import ConfigError


def from_openhands(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` as our own variables, as far as it has them under OpenHands' names.

    As there, indexed session keys win over the single one, and the first session key is the
    secret key where no other is given. Raises ConfigError for keys that would become others.
    """
    session_keys = session_api_keys(environ)
    secret_key = environ.get("OH_SECRET_KEY") or next(iter(session_keys), "")
    found = {
        "TRUNKLINE_SESSION_API_KEY": _joined("OH_SESSION_API_KEYS", session_keys),
        "TRUNKLINE_SECRET_KEY": secret_key,
        "TRUNKLINE_PREVIOUS_SECRET_KEYS": _joined(
            "OH_PREVIOUS_SECRET_KEYS", _many(environ, "OH_PREVIOUS_SECRET_KEYS")
        ),
        "TRUNKLINE_CORS_ORIGINS": ",".join(_many(environ, "OH_ALLOW_CORS_ORIGINS")),
        "TRUNKLINE_WEBHOOKS": environ.get("OH_WEBHOOKS", ""),
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


def _many(environ: Mapping[str, str], name: str) -> list[str]:
    indexed = sorted(
        (int(match[1]), value)
        for variable, value in environ.items()
        if (match := re.fullmatch(rf"{name}_(\d+)", variable))
    )
    values = [*_filled(value for _, value in indexed)]
    return values or [*_filled(_listed(name, environ.get(name, "")))]


def _listed(name: str, text: str) -> list[str]:
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text.split(",")
    if not isinstance(values, list):
        return [text]
    if not all(isinstance(value, str) for value in values):
        raise ConfigError(f"{name}: expected a list of strings")
    return values


def _joined(name: str, values: list[str]) -> str:
    """As our variables have it, where half of such a key would be a key of its own."""
    if any("," in value for value in values):
        raise ConfigError(f"{name}: a key with a comma in it cannot be taken")
    return ",".join(values)


def _filled(values: "Iterator[str] | list[str]") -> Iterator[str]:
    return (value.strip() for value in values if value.strip())
