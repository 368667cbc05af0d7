"""The models of a chat agent, resolved with this worker's environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from trunkline_shared.config.models import AgentConfig, ModelSettings
from trunkline_shared.config.upstreams import Upstream, resolve_chain, resolve_settings
from trunkline_shared.errors import ConfigError
from trunkline_shared.transcript import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model to call: POST `{base_url}/chat/completions`.

    `settings` are the agent's defaults under the names that a caller's options have, so that the
    caller's are laid over them. `extra_body` goes over the whole body. Without an `api_key` no
    Authorization is sent. `prices_id` None: the price is unknown.
    """

    provider: str
    name: str
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    takes_stream_options: bool = True
    prices_id: str | None = None
    settings: Options = field(default_factory=Options)
    extra_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra_body: Mapping[str, Any] = field(default_factory=dict, repr=False)


def resolve_models(agent: AgentConfig, environ: Mapping[str, str]) -> list[ModelSpec]:
    """The models of a chat agent that can be called from here, first choice first.

    Raises ConfigError that names what is missing when there is none.
    """
    try:
        settings = resolve_settings(agent, environ)
        chain = resolve_chain(agent, environ)
    except ValueError as error:
        raise ConfigError(f"agent {agent.name}: {error}") from None
    if not chain.upstreams:
        raise ConfigError(f"agent {agent.name}: {'; '.join(chain.missing)}")
    return [_spec(upstream, settings) for upstream in chain.upstreams]


def _spec(upstream: Upstream, settings: ModelSettings) -> ModelSpec:
    values = settings.model_dump(
        exclude_none=True, exclude={"max_tokens", "stop", "extra_headers", "extra_body"}
    )
    if settings.max_tokens is not None:
        values["max_output_tokens"] = settings.max_tokens
    if settings.stop is not None:
        values["stop"] = list(settings.stop)
    return ModelSpec(
        provider=upstream.provider.name,
        name=upstream.name,
        base_url=upstream.base_url,
        api_key=upstream.api_key,
        max_tokens_field=upstream.provider.max_tokens_field,
        takes_stream_options=upstream.provider.takes_stream_options,
        prices_id=upstream.provider.genai_prices_id,
        settings=cast(Options, values),
        extra_headers=settings.extra_headers or {},
        extra_body=settings.extra_body or {},
    )
