"""Requests about an input that is not answered: it is compacted, or its tokens are counted."""

from typing import Annotated, Literal

from pydantic import BaseModel, StringConstraints

from trunkline_api.wire.base import FreeObject, Many, NonEmpty, Refused, ServiceTier, Wire
from trunkline_api.wire.problems import parse
from trunkline_api.wire.response_items import InputItem
from trunkline_api.wire.response_reply import ResponseUsage
from trunkline_api.wire.response_rules import check_members, check_responses
from trunkline_api.wire.response_tools import ReasoningOptions, Text, Tool, ToolChoice
from trunkline_api.wire.responses import ConversationId, ResponsesRequest


class _InputOnly(Wire):
    """What both say. A member that is null counts as absent, unknown members are ignored."""

    model: NonEmpty
    input: str | Many[InputItem] | None = None
    instructions: str | None = None
    previous_response_id: NonEmpty | None = None

    def as_responses(self) -> ResponsesRequest:
        """The members that a Responses request has too, as one of those."""
        names = self.model_fields_set & ResponsesRequest.model_fields.keys()
        values = {name: getattr(self, name) for name in names} | {"input": self.input or []}
        return ResponsesRequest.model_construct(names | {"input"}, **values)


class CompactRequest(_InputOnly):
    """A request to compact."""

    image: Refused = None
    prompt_cache_key: str | None = None
    prompt_cache_options: FreeObject | None = None
    prompt_cache_retention: Annotated[str, StringConstraints(max_length=64)] | None = None
    service_tier: ServiceTier | None = None


class InputTokensRequest(_InputOnly):
    """A request to count. `personality` and `truncation` change nothing."""

    conversation: NonEmpty | ConversationId | None = None
    parallel_tool_calls: bool | None = None
    personality: Annotated[str, StringConstraints(max_length=64)] | None = None
    reasoning: ReasoningOptions | None = None
    text: Text | None = None
    tool_choice: ToolChoice | None = None
    tools: Many[Tool] | None = None
    truncation: Literal["auto", "disabled"] | None = None

    def as_responses(self) -> ResponsesRequest:
        return super().as_responses().model_copy(update={"truncation": None})


class KeptMessage(BaseModel):
    """What a user said, as it was."""

    type: Literal["message"]
    id: str
    role: Literal["user"]
    status: Literal["completed"]
    content: list[dict[str, str]]


class CompactionItem(BaseModel):
    """The summary. Only this deployment can read it, for the key that asked."""

    type: Literal["compaction"]
    id: str
    encrypted_content: str


class CompactedResponse(BaseModel):
    """`output` is the next request's `input`, as it is."""

    id: str
    object: Literal["response.compaction"]
    created_at: int
    output: list[KeptMessage | CompactionItem]
    usage: ResponseUsage


class Estimate(BaseModel):
    estimated: Literal[True] = True


class InputTokens(BaseModel):
    """`trunkline` is there where the number is an estimate."""

    object: Literal["response.input_tokens"] = "response.input_tokens"
    input_tokens: int
    trunkline: Estimate | None = None


def parse_compact(body: bytes) -> ResponsesRequest:
    """What is to be compacted. Raises ApiError 400 that names the member and what it takes."""
    asked = parse(CompactRequest, body)
    request = asked.as_responses()
    check_responses(request)
    return request


def parse_input_tokens(body: bytes) -> ResponsesRequest:
    """What is to be counted, which may be a conversation alone. Raises ApiError 400."""
    request = parse(InputTokensRequest, body).as_responses()
    (check_responses if request.conversation is None else check_members)(request)
    return request
