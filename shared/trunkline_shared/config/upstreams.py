"""From an agent's models to the servers, names and keys that a worker would use for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from trunkline_shared.config.complaint import unknown_key, wrong_value
from trunkline_shared.config.installed import installed
from trunkline_shared.config.interpolate import interpolate, interpolate_tree
from trunkline_shared.config.models import (
    AgentConfig,
    ModelSettings,
    check_chain,
    check_url,
    claude_model,
    split_chain,
)
from trunkline_shared.config.providers import (
    OTHER_PROVIDERS,
    PROVIDERS,
    Provider,
    Wire,
    check_provider,
    split_model,
)
from trunkline_shared.llm import Llm

_OPENAI: Final = "api.openai.com"
_PACKAGES: Final[Mapping[Wire, tuple[str, str]]] = {
    "responses": ("openai", "openai"),
    "anthropic": ("anthropic", "anthropic"),
    "google": ("google.genai", "google"),
    "google-cloud": ("google.genai", "google"),
    "bedrock": ("boto3", "bedrock"),
    "cohere": ("cohere", "cohere"),
}
"""The module behind each wire, and the extra that brings it."""
_OF_A_MACHINE: Final = ("google-cloud", "bedrock")


@dataclass(frozen=True, slots=True)
class Upstream:
    """One model of a fallback chain, ready to be called. `base_url` has no slash at its end."""

    provider: Provider
    name: str
    base_url: str
    api_key: str | None = field(repr=False)

    @property
    def wire(self) -> Wire:
        return self.provider.wire


@dataclass(frozen=True, slots=True)
class Chain:
    """The models that can be called from here, in order, and what the others lack."""

    upstreams: tuple[Upstream, ...]
    missing: tuple[str, ...]


def resolve_chain(agent: AgentConfig, environ: Mapping[str, str]) -> Chain:
    """The chain of an agent as `environ` has it. Raises ValueError where none can be told."""
    # an empty variable counts as a key that is not there
    url = interpolate(agent.base_url or "", environ).strip() or None
    key = interpolate(agent.api_key or "", environ).strip() or None
    if url:
        check_url(url)
    models = [m for text in agent.model for m in split_chain(interpolate(text, environ))]
    if not models:
        raise ValueError("names no model")
    if agent.type == "claude_code":
        models = list(map(claude_model, models))
    check_chain(models, url=url, key=key)
    upstreams: list[Upstream] = []
    missing: list[str] = []
    for model in models:
        found = _upstream(model, agent, url, key, environ)
        if isinstance(found, Upstream):
            upstreams.append(found)
        elif found not in missing:
            missing.append(found)
    return Chain(tuple(upstreams), tuple(missing))


def resolve_settings(agent: AgentConfig, environ: Mapping[str, str]) -> ModelSettings:
    """An agent's settings as `environ` has them. Raises ValueError, one line, where they are wrong
    or a variable is missing."""
    try:
        return ModelSettings.model_validate(interpolate_tree(agent.settings, environ))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        *around, key = first["loc"]
        where = ".".join(map(str, ("settings", *around)))
        if first["type"] == "extra_forbidden":
            reason = unknown_key(key, list(ModelSettings.model_fields))
            raise ValueError(f"{where}: {reason}") from None
        raise ValueError(f"{where}.{key}: {wrong_value(first)}") from None


def resolve_profile(llm: Llm, environ: Mapping[str, str]) -> Upstream:
    """Where a profile's model is, as `environ` has it. Raises ValueError that says what it lacks.

    At a URL of its own a profile gets no key of ours, which would else leave for wherever it says.
    """
    url = llm.url
    name, model_name = split_model(llm.model if "/" in llm.model else f"openai/{llm.model}")
    check_provider(name, url)
    if name in OTHER_PROVIDERS and not url:
        raise ValueError(f"provider {name} cannot run in this version")
    provider = _provider(name)
    if provider.wire in _OF_A_MACHINE:
        raise ValueError(f"provider {name} is for agents alone: it takes the worker's own login")
    if llm.api_mode == "responses":
        provider = _by_responses(provider)
    elif llm.api_mode != "auto" and url:
        provider = replace(provider, wire="chat")
    found = _located(provider, model_name, url, llm.api_key, {} if url else environ)
    if isinstance(found, str):
        raise ValueError(found)
    if llm.max_tokens_field:
        return replace(
            found, provider=replace(found.provider, max_tokens_field=llm.max_tokens_field)
        )
    if name == "openai" and url and urlsplit(url).hostname != _OPENAI:
        # A server that stands in for OpenAI's: most know only the older name.
        return replace(found, provider=replace(found.provider, max_tokens_field="max_tokens"))
    return found


def _upstream(
    model: str, agent: AgentConfig, url: str | None, key: str | None, environ: Mapping[str, str]
) -> Upstream | str:
    name, model_name = split_model(model)
    if name in OTHER_PROVIDERS:
        return f"provider {name} cannot run in this version"
    provider = _provider(name)
    if agent.type == "claude_code" and provider.wire != "anthropic":
        return f"type claude_code asks over the API of anthropic, not of {name}"
    if agent.api == "responses":
        provider = _by_responses(provider)
    return _located(provider, model_name, url, key, environ)


def _by_responses(provider: Provider) -> Provider:
    return replace(provider, wire="responses") if provider.wire == "chat" else provider


def _provider(name: str) -> Provider:
    return PROVIDERS.get(name) or Provider(name=name, needs_key=False)


def _located(
    provider: Provider, name: str, url: str | None, key: str | None, environ: Mapping[str, str]
) -> Upstream | str:
    if lack := _package_lack(provider):
        return lack
    given = (url or environ.get(provider.base_url_variable or "") or "").strip().rstrip("/")
    base_url = given or provider.base_url
    if base_url is None:
        variable = provider.base_url_variable
        return (
            f"{variable} is not set" if variable else f"provider {provider.name} needs a base_url"
        )
    if provider.wire == "anthropic":
        base_url = base_url.removesuffix("/v1")  # which its client adds
    if not base_url.endswith(provider.path):
        base_url += provider.path
    keys = (environ.get(variable, "").strip() for variable in provider.api_key_variables)
    key = key or next(filter(None, keys), None)
    if key is None and provider.needs_key and not given:
        return f"{provider.api_key_variables[0]} is not set"
    return Upstream(provider, name, base_url, key)


def _package_lack(provider: Provider) -> str | None:
    module, extra = _PACKAGES.get(provider.wire, ("", ""))
    if not module or installed(module):
        return None
    return f'provider {provider.name} needs: pip install "trunkline[{extra}]"'
