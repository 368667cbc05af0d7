"""The mappings that AgentPool's files have for a model, as a chain of texts and its settings."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from trunkline_shared.config.complaint import unknown_key
from trunkline_shared.config.findings import Findings, Where
from trunkline_shared.config.interpolate import holds_variable
from trunkline_shared.config.models import ModelSettings, split_chain

_PROVIDERS = {
    "string": "",
    "openai": "openai:",
    "openrouter": "openrouter:",
    "anthropic": "anthropic:",
    "gemini": "gemini:",
}
_SETTINGS: Mapping[str, str] = MappingProxyType(
    {**{key: key for key in ModelSettings.model_fields}, "stop_sequences": "stop"}
)
_IGNORED: Mapping[str, str] = MappingProxyType(
    {
        "timeout": "limits.timeout_s bounds a run, TRUNKLINE_SILENCE_TIMEOUT_S a silent provider",
        "user": "a caller names its user",
        "logprobs": "a caller asks for log probabilities",
        "top_logprobs": "a caller asks for log probabilities",
        **dict.fromkeys(
            ("cache_instructions", "cache_messages", "cache_tool_definitions"),
            "caching is left to the provider",
        ),
        **dict.fromkeys(("labels", "metadata"), "requests to a provider carry no labels"),
    }
)
_CANNOT: Mapping[str, str] = MappingProxyType(
    {
        "auth_method": "a provider is called with its API key",
        "safety_settings": "they cannot be sent",
        "thinking_config": "settings has reasoning_effort",
    }
)
_OF_TEST = ("call_tools", "tool_args", "seed")


def spell_model(values: dict[str, Any], where: Where, findings: Findings) -> None:
    """Writes a `model` that is, or holds, a mapping as texts, and what it sets into `settings`,
    whose own keys win. Raises ConfigError where that cannot be done."""
    model = values.get("model")
    at = (*where, "model")
    if isinstance(model, dict) and model.get("type") == "test":
        values["model"] = _test(model, at, findings)
        return
    if not (isinstance(model, dict) or _holds_mapping(model)):
        return
    chain, settings = _chain(model, at, findings)
    values["model"] = chain
    own = values.get("settings") or {}
    if isinstance(own, dict):  # else it is refused later
        for key in settings.keys() - own.keys():
            findings.source.moved((*where, "settings", key), settings[key][1])
        values["settings"] = {**{key: value for key, (value, _) in settings.items()}, **own}


_Settings = dict[str, tuple[Any, Where]]  # each with where it stands


def _chain(model: Any, where: Where, findings: Findings) -> tuple[list[str], _Settings]:
    if isinstance(model, str):
        return [model] if holds_variable(model) else list(split_chain(model)), {}
    if not isinstance(model, list | dict):
        raise findings.source.error(where, "a model is a text or a mapping")
    if isinstance(model, dict) and model.get("type") != "fallback":
        return _one(model, where, findings)
    members: Any = model
    at = where
    if isinstance(model, dict):
        _check_keys(model, where, findings, ("type", "models"))
        members, at = model.get("models"), (*where, "models")
    if not isinstance(members, list) or not members:
        raise findings.source.error(at, "expected a list of models")
    found = [_chain(member, (*at, i), findings) for i, member in enumerate(members)]
    first = found[0][1]
    for index, (_, settings) in enumerate(found):
        if _plain(settings) != _plain(first):
            raise findings.source.error(
                (*at, index), "its settings differ from the first model's; a chain has one set"
            )
    return [text for texts, _ in found for text in texts], first


def _one(model: Mapping[str, Any], where: Where, findings: Findings) -> tuple[list[str], _Settings]:
    kind = model.get("type", "string")
    if not isinstance(kind, str) or kind not in _PROVIDERS:
        known = ", ".join(("fallback", "test", *_PROVIDERS))
        raise findings.source.error(
            (*where, "type"), f"a model of type {kind!r} cannot be served, known here are {known}"
        )
    naming = ("provider", "model") if "provider" in model or "model" in model else ("identifier",)
    for key in naming:
        if not isinstance(model.get(key), str):
            raise findings.source.error((*where, key), f"a model mapping needs a text as {key!r}")
    _check_keys(model, where, findings, ("type", *naming, *_SETTINGS, *_IGNORED, *_CANNOT))
    return [_text(model, kind)], _settings(model, where, findings)


def _settings(model: Mapping[str, Any], where: Where, findings: Findings) -> _Settings:
    settings: _Settings = {}
    for key, value in model.items():
        if value is None:
            continue
        if key in _SETTINGS:
            settings[_SETTINGS[key]] = value, (*where, key)
        elif key in _IGNORED:
            findings.ignore((*where, key), _IGNORED[key])
        elif key in _CANNOT:
            findings.lack(f"model.{key}", _CANNOT[key])
    return settings


def _text(model: Mapping[str, Any], kind: str) -> str:
    if "provider" in model:
        return f"{model['provider']}:{model['model']}"
    name, prefix = str(model["identifier"]), _PROVIDERS[kind]
    return name if name.startswith(prefix) else prefix + name


def _test(model: Mapping[str, Any], where: Where, findings: Findings) -> str:
    _check_keys(model, where, findings, ("type", "custom_output_text", *_OF_TEST))
    for key in filter(model.__contains__, _OF_TEST):
        findings.ignore((*where, key), "the test model calls no tools")
    text = model.get("custom_output_text")
    if text is not None and not isinstance(text, str):
        raise findings.source.error((*where, "custom_output_text"), "expected a text")
    return "test" if text is None else f"test:{text}"


def _check_keys(
    model: Mapping[Any, Any], where: Where, findings: Findings, known: tuple[str, ...]
) -> None:
    for key in model:
        if key not in known:
            raise findings.source.error((*where, key), unknown_key(key, known), named=where)


def _plain(settings: _Settings) -> dict[str, Any]:
    return {key: value for key, (value, _) in settings.items()}


def _holds_mapping(model: Any) -> bool:
    return isinstance(model, list) and any(isinstance(member, dict) for member in model)
