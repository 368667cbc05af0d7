"""The LLM of a profile: its fields, with OpenHands' names, bounds and defaults.

They are accepted, kept and given back as a whole, so that OpenHands' clients find what they wrote;
`trunkline_worker.profile_model` says which of them do something.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeAlias

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

_Whole: TypeAlias = Annotated[int, Field(ge=0, le=2**31)]
_AtLeast1: TypeAlias = Annotated[int, Field(ge=1, le=2**31)]
_Number: TypeAlias = Annotated[float, Field(ge=0)]

MASK: Final = "**********"
"""What stands for a secret that is not shown. Sent back, it counts as no secret."""

_OF_DUMPS: Final = frozenset({"drop_params", "native_tool_calling", "usage_id"})
_SECRETS: Final = ("api_key", "aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_SECRET_HEADER: Final = re.compile(r"authorization|cookie|key|token|secret|password", re.I)
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


def _secret(value: str | None) -> str | None:
    if value is None or not value.strip() or not value.strip("*"):
        return None
    if _CONTROLS.search(value.strip()):
        raise ValueError("a secret has no line breaks or other control characters")
    return value.strip()


_Secret: TypeAlias = Annotated[str | None, AfterValidator(_secret), Field(repr=False)]


class Llm(BaseModel):
    """Fields that were not set have OpenHands' defaults; `chosen` tells which those are not."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, allow_inf_nan=False, protected_namespaces=()
    )

    model: str
    """`provider/name`; a name alone is OpenAI's."""
    api_key: _Secret = None
    provider_connection_id: str | None = None
    auth_type: Literal["api_key", "subscription"] = "api_key"
    subscription_vendor: str | None = None
    base_url: str | None = None
    api_version: str | None = None
    aws_access_key_id: _Secret = None
    aws_secret_access_key: _Secret = None
    aws_session_token: _Secret = None
    aws_region_name: str | None = None
    aws_profile_name: str | None = None
    aws_role_name: str | None = None
    aws_session_name: str | None = None
    aws_bedrock_runtime_endpoint: str | None = None
    openrouter_site_url: str = "https://docs.all-hands.dev/"
    openrouter_app_name: str = "OpenHands"
    num_retries: _Whole = 5
    retry_multiplier: _Number = 8.0
    retry_min_wait: _Whole = 8
    retry_max_wait: _Whole = 64
    timeout: _Whole | None = 300
    stream_idle_timeout: _Number | None = 300
    max_message_chars: _AtLeast1 = 30_000
    temperature: _Number | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: _Number | None = None
    max_input_tokens: _AtLeast1 | None = None
    max_output_tokens: _AtLeast1 | None = None
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    """Ours: under which name the provider is told `max_output_tokens`."""
    model_canonical_name: str | None = None
    api_mode: Literal["auto", "chat", "completions", "responses"] = "auto"
    capability_overrides: dict[str, bool | str] = Field(default_factory=dict)
    extra_headers: dict[str, str] | None = Field(default=None, repr=False)
    input_cost_per_token: _Number | None = None
    output_cost_per_token: _Number | None = None
    ollama_base_url: str | None = None
    stream: bool = False
    drop_params: bool = True
    disable_vision: bool | None = None
    disable_stop_word: bool | None = False
    caching_prompt: bool = True
    log_completions: bool = False
    log_completions_folder: str = "logs/completions"
    custom_tokenizer: str | None = None
    native_tool_calling: bool = True
    force_string_serializer: bool | None = None
    inline_image_urls: bool | None = None
    reasoning_effort: str | None = "high"
    reasoning_summary: Literal["auto", "concise", "detailed"] | None = None
    enable_encrypted_reasoning: bool = True
    prompt_cache_retention: str | None = "24h"
    extended_thinking_budget: _Whole | None = 200_000
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    usage_id: str = "default"
    litellm_extra_body: dict[str, Any] = Field(default_factory=dict)
    is_subscription: bool = False

    @field_validator("model")
    @classmethod
    def _named(cls, value: str) -> str:
        if not value.strip() or _CONTROLS.search(value):
            raise ValueError("names no model; for example openai/gpt-4o-mini")
        return value.strip()

    @field_validator("base_url", "ollama_base_url")
    @classmethod
    def _none_if_empty(cls, value: str | None) -> str | None:
        return value.strip() or None if value else None

    @field_validator("extra_headers")
    @classmethod
    def _sendable(cls, headers: dict[str, str] | None) -> dict[str, str] | None:
        for name, value in (headers or {}).items():
            if not _HEADER_NAME.match(name) or _CONTROLS.search(value):
                raise ValueError("a header has a name of letters, and no line break in its value")
        return headers and {name: value for name, value in headers.items() if value != MASK}

    @field_validator("litellm_extra_body")
    @classmethod
    def _storable(cls, body: dict[str, Any]) -> dict[str, Any]:
        try:
            orjson.dumps(body)
        except orjson.JSONEncodeError:
            raise ValueError("JSON with integers of at most 64 bits") from None
        return body

    @property
    def chosen(self) -> set[str]:
        """The fields that somebody set, which are those to act on: not every model takes the
        defaults.

        Clients also save what they read, and the SDK all that it has: of a whole dump only what
        differs from the defaults was chosen.
        """
        given = set(self.model_fields_set)
        if not given >= _OF_DUMPS:
            return given
        fields = type(self).model_fields
        return {
            name
            for name in given
            if getattr(self, name) != fields[name].get_default(call_default_factory=True)
        }

    @property
    def has_secrets(self) -> bool:
        return self.with_secrets(lambda *_: None) != self

    def with_secrets(self, change: Callable[[str, str], str | None]) -> "Llm":
        """A copy in which each secret is what `change` makes of its place and itself."""
        update: dict[str, Any] = {
            name: change(name, secret)
            for name in _SECRETS
            if (secret := getattr(self, name)) is not None
        }
        if self.extra_headers:
            changed = {
                name: change(f"extra_headers.{name}", value)
                if _SECRET_HEADER.search(name)
                else value
                for name, value in self.extra_headers.items()
            }
            update["extra_headers"] = {k: v for k, v in changed.items() if v is not None}
        return self.model_copy(update=update)

    @field_validator("auth_type")
    @classmethod
    def _with_a_key(cls, value: str) -> str:
        if value == "subscription":
            raise ValueError("subscriptions are not supported; use an api_key")
        return value

    @property
    def url(self) -> str | None:
        """Where the profile says that its model is, if it does."""
        if self.base_url is None and self.model.lower().startswith(("ollama/", "ollama_chat/")):
            return self.ollama_base_url
        return self.base_url
