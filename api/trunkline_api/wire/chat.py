"""The body of POST /v1/chat/completions, from bytes to a checked value."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from trunkline_api.wire.base import (
    Effort,
    FreeObject,
    Many,
    Metadata,
    NonEmpty,
    Penalty,
    Refused,
    ServiceTier,
    Verbosity,
    Wire,
)
from trunkline_api.wire.chat_rules import check_chat
from trunkline_api.wire.messages import Message
from trunkline_api.wire.problems import parse
from trunkline_api.wire.tools import ResponseFormat, Tool, ToolChoice

_Tokens = Annotated[int, Field(ge=1, lt=2**31)]


def _logit_bias(values: dict[str, Any]) -> dict[str, float]:
    for bias in values.values():
        if isinstance(bias, bool) or not isinstance(bias, int | float) or not -100 <= bias <= 100:
            raise ValueError("numbers from -100 to 100 by token id")
    return values


# Checked by hand, because pydantic would list each mistake of a map with millions.
_LogitBias = Annotated[dict[str, Any], AfterValidator(_logit_bias)]


class StreamOptions(Wire):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Prediction(Wire):
    type: Literal["content"]
    content: str | Many[FreeObject]


class ChatRequest(Wire):
    """A chat completion request. A member that is null counts as absent.

    Unknown members are ignored.
    """

    messages: Annotated[Many[Message], Field(min_length=1)]
    model: NonEmpty
    audio: Refused = None
    frequency_penalty: Penalty | None = None
    function_call: Refused = None
    functions: Refused = None
    logit_bias: _LogitBias | None = None
    logprobs: bool | None = None
    max_completion_tokens: _Tokens | None = None
    max_tokens: _Tokens | None = None
    metadata: Metadata | None = None
    modalities: Many[Literal["text", "audio"]] | None = None
    moderation: Refused = None
    n: Annotated[int, Field(ge=1, le=128, description="Only 1 is possible.")] | None = None
    parallel_tool_calls: bool | None = None
    prediction: Prediction | None = None
    presence_penalty: Penalty | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: FreeObject | None = None
    prompt_cache_retention: Annotated[str, StringConstraints(max_length=64)] | None = None
    reasoning_effort: Effort | None = None
    response_format: ResponseFormat | None = None
    safety_identifier: str | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    service_tier: ServiceTier | None = None
    stop: str | Annotated[Many[str], Field(min_length=1, max_length=4)] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    tool_choice: ToolChoice | None = None
    tools: Many[Tool] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    user: str | None = None
    verbosity: Verbosity | None = None
    web_search_options: Refused = None

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


def parse_chat(body: bytes) -> ChatRequest:
    """The request in `body`. Raises ApiError 400 that names the member and what it takes."""
    request = parse(ChatRequest, body)
    check_chat(request)
    return request
