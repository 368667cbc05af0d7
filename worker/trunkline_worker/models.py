"""The models of a chat agent, resolved with this worker's environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from trunkline_shared.config.models import AgentConfig, ModelSettings
from trunkline_shared.config.providers import Wire
from trunkline_shared.config.upstreams import (
    Upstream,
    resolve_chain,
    resolve_profile,
    resolve_settings,
)
from trunkline_shared.errors import ConfigError
from trunkline_shared.llm import Llm
from trunkline_shared.transcript import Options

_NO_OPTIONS = {"max_tokens", "max_tokens_field", "stop", "extra_headers", "extra_body"}
_OPTIONS = {"temperature", "top_p", "max_output_tokens", "seed", "reasoning_effort"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model to call; over the wire `chat` with POST `{base_url}/chat/completions`.

    A `base_url` of "" is known to the provider's client alone. `settings` are the agent's defaults
    under the names that a caller's options have, so that the caller's are laid over them.
    `extra_body` goes over the whole body. Without an `api_key` no Authorization is sent, but that
    of a user in `base_url`. `prices_id` None: the price is unknown, unless `rates` are given, US
    dollars per token of input and of output.
    """

    provider: str
    name: str
    base_url: str
    wire: Wire = "chat"
    api_key: str | None = field(default=None, repr=False)
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    takes_stream_options: bool = True
    prices_id: str | None = None
    rates: tuple[float, float] | None = None
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


def resolve_profile_model(agent: AgentConfig, llm: Llm, environ: Mapping[str, str]) -> ModelSpec:
    """The model of a profile, with the settings of the agent that runs it under the profile's.

    The agent's headers and extra body are for its own provider, and may be secret: they stay out.
    Raises ValueError that says what is missing.
    """
    upstream = resolve_profile(llm, environ)
    settings = resolve_settings(agent, environ)
    given = llm.model_dump(include=_OPTIONS & llm.chosen, exclude_none=True)
    spec = _spec(upstream, settings.model_copy(update={"max_tokens_field": None}))
    costs = (llm.input_cost_per_token, llm.output_cost_per_token)
    return replace(
        spec,
        settings=cast(Options, {**spec.settings, **given}),
        rates=None if costs == (None, None) else (costs[0] or 0.0, costs[1] or 0.0),
        extra_headers=llm.extra_headers or {},
        extra_body=llm.litellm_extra_body,
    )


def options_of(settings: ModelSettings) -> Options:
    """An agent's settings by the names of what a caller asks for."""
    values = settings.model_dump(exclude_none=True, exclude=_NO_OPTIONS)
    if settings.max_tokens is not None:
        values["max_output_tokens"] = settings.max_tokens
    if settings.stop is not None:
        values["stop"] = list(settings.stop)
    return cast(Options, values)


def _spec(upstream: Upstream, settings: ModelSettings) -> ModelSpec:
    return ModelSpec(
        provider=upstream.provider.name,
        name=upstream.name,
        base_url=upstream.base_url,
        wire=upstream.wire,
        api_key=upstream.api_key,
        max_tokens_field=settings.max_tokens_field or upstream.provider.max_tokens_field,
        takes_stream_options=upstream.provider.takes_stream_options,
        prices_id=upstream.provider.genai_prices_id,
        settings=options_of(settings),
        extra_headers=settings.extra_headers or {},
        extra_body=settings.extra_body or {},
    )
