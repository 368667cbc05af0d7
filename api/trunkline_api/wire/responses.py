"""The body of POST /v1/responses, from bytes to a checked value."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from trunkline_api.wire.base import (
    FreeObject,
    Many,
    Metadata,
    NonEmpty,
    Penalty,
    Refused,
    ServiceTier,
    Wire,
)
from trunkline_api.wire.problems import parse
from trunkline_api.wire.response_items import InputItem
from trunkline_api.wire.response_rules import check_responses
from trunkline_api.wire.response_tools import ReasoningOptions, Text, Tool, ToolChoice

ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"
Include = Literal[
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
]


class ContextManagement(Wire):
    """Sums the input up where it takes more tokens than `compact_threshold`."""

    type: Literal["compaction"]
    compact_threshold: Annotated[int, Field(ge=1000, lt=2**31)]


class ResponseStreamOptions(Wire):
    include_obfuscation: bool | None = None


class ConversationId(Wire):
    id: NonEmpty


def _or_none(given: Any) -> Any:
    return [] if given is None else given


class ResponsesRequest(Wire):
    """A Responses request. A member that is null counts as absent.

    Unknown members are ignored.
    """

    input: Annotated[str | Many[InputItem], BeforeValidator(_or_none)] = Field(default_factory=list)
    model: NonEmpty
    access_programs: Refused = None
    background: bool | None = None
    background_options: Refused = None
    context_management: Annotated[Many[ContextManagement], Field(max_length=1)] | None = None
    conversation: NonEmpty | ConversationId | None = None
    frequency_penalty: Penalty | None = None
    image: Refused = None
    include: Many[Include] | None = None
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=16, lt=2**31)] | None = None
    max_tool_calls: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    metadata: Metadata | None = None
    moderation: Refused = None
    parallel_tool_calls: bool | None = None
    presence_penalty: Penalty | None = None
    previous_response_id: NonEmpty | None = None
    prompt: Refused = None
    prompt_cache_key: str | None = None
    prompt_cache_options: FreeObject | None = None
    prompt_cache_retention: Annotated[str, StringConstraints(max_length=64)] | None = None
    reasoning: ReasoningOptions | None = None
    safety_identifier: str | None = None
    service_tier: ServiceTier | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    text: Text | None = None
    tool_choice: ToolChoice | None = None
    tools: Many[Tool] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None

    @property
    def conversation_id(self) -> str | None:
        given = self.conversation
        return given.id if isinstance(given, ConversationId) else given

    @property
    def compact_above(self) -> int | None:
        """The tokens of input beyond which it is summed up."""
        return self.context_management[0].compact_threshold if self.context_management else None

    @property
    def is_stored(self) -> bool:
        return self.store is not False

    @property
    def seals_reasoning(self) -> bool:
        return ENCRYPTED in (self.include or ())

    @property
    def is_warm_up(self) -> bool:
        """Whether it wants no answer, which only a WebSocket's client can say."""
        return False

    @property
    def wants_logprobs(self) -> bool:
        return LOGPROBS in (self.include or ()) or bool(self.top_logprobs)


def parse_responses(body: bytes) -> ResponsesRequest:
    """The request in `body`. Raises ApiError 400 that names the member and what it takes."""
    request = parse(ResponsesRequest, body)
    check_responses(request)
    return request
