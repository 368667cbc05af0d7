"""What the Responses endpoints answer, for their description; the renderer writes the bytes."""

from typing import Any, Literal

from pydantic import BaseModel


class InputTokensDetails(BaseModel):
    cached_tokens: int
    cache_write_tokens: int


class OutputTokensDetails(BaseModel):
    reasoning_tokens: int


class ResponseUsage(BaseModel):
    """`cost` is in US dollars, and null when the price is not known."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int
    cost: float | None


class ResponseFailure(BaseModel):
    code: str
    message: str
    type: str
    param: str | None


class IncompleteDetails(BaseModel):
    """`detail` names the limit of ours that cut the answer short, if one did."""

    reason: Literal["max_output_tokens", "content_filter"]
    detail: str | None = None


class ContentPart(BaseModel):
    """`refusal` has its text in the member of that name."""

    type: Literal["output_text", "refusal", "reasoning_text", "summary_text"]
    text: str | None = None
    refusal: str | None = None
    annotations: list[dict[str, Any]] | None = None
    logprobs: list[dict[str, Any]] | None = None


class ItemObject(BaseModel):
    """A message and reasoning have `content`; a call has `call_id`, `name` and its arguments, or
    its input when it is a custom tool's. An `mcp_call` is one of the agent's own tools. A
    `compaction` has its `encrypted_content` and no status.
    """

    type: Literal[
        "message", "reasoning", "function_call", "custom_tool_call", "mcp_call", "compaction"
    ]
    id: str
    status: Literal["in_progress", "completed", "incomplete", "failed"] | None = None
    role: Literal["assistant"] | None = None
    phase: Literal["commentary", "final_answer"] | None = None
    content: list[ContentPart] | None = None
    summary: list[dict[str, Any]] | None = None
    encrypted_content: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    server_label: str | None = None
    output: str | None = None
    error: dict[str, Any] | None = None


class ConversationRef(BaseModel):
    id: str


class ResponseObject(BaseModel):
    """A response; what its request left out has OpenAI's value."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
    model: str
    output: list[ItemObject]
    usage: ResponseUsage | None
    error: ResponseFailure | None
    incomplete_details: IncompleteDetails | None
    background: bool
    conversation: ConversationRef | None
    frequency_penalty: float
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    metadata: dict[str, str]
    parallel_tool_calls: bool
    presence_penalty: float
    previous_response_id: str | None
    prompt_cache_key: str | None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None
    reasoning: dict[str, Any]
    safety_identifier: str | None
    service_tier: str
    store: bool
    temperature: float
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float
    truncation: Literal["auto", "disabled"]
    user: str | None


class ResponseEvent(BaseModel):
    """One server-sent event; what else it has depends on its `type`."""

    type: str
    sequence_number: int
    response: ResponseObject | None = None
    item: ItemObject | None = None
    part: ContentPart | None = None
    item_id: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    delta: str | None = None


class InputItemList(BaseModel):
    """A page. Its items are those of a request's input, each with an `id`."""

    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedResponse(BaseModel):
    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True
