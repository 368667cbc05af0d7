"""What POST /v1/chat/completions answers, for its description; the renderer writes the bytes."""

from typing import Any, Literal

from pydantic import BaseModel

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class CalledFunction(BaseModel):
    name: str
    arguments: str


class CalledCustom(BaseModel):
    name: str
    input: str


class RepliedCall(BaseModel):
    """`function` or `custom`, as `type` says."""

    id: str
    type: Literal["function", "custom"]
    function: CalledFunction | None = None
    custom: CalledCustom | None = None


class RepliedMessage(BaseModel):
    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    annotations: list[dict[str, Any]]
    reasoning_content: str | None = None
    tool_calls: list[RepliedCall] | None = None


class Logprobs(BaseModel):
    content: list[dict[str, Any]] | None
    refusal: list[dict[str, Any]] | None


class CompletionChoice(BaseModel):
    index: Literal[0]
    message: RepliedMessage
    logprobs: Logprobs | None
    finish_reason: FinishReason


class PromptTokensDetails(BaseModel):
    cached_tokens: int
    cache_write_tokens: int
    audio_tokens: int


class CompletionTokensDetails(BaseModel):
    reasoning_tokens: int
    audio_tokens: int
    accepted_prediction_tokens: int
    rejected_prediction_tokens: int


class CompletionUsage(BaseModel):
    """`cost` is in US dollars, and null when the price is not known."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails
    cost: float | None


class Activity(BaseModel):
    """A call of one of the agent's own tools."""

    id: str
    toolset: str
    name: str
    arguments: str
    output: str
    status: Literal["completed", "failed", "incomplete"]
    error: str | None


class Told(BaseModel):
    """`activities` if the header X-Trunkline-Events asks for `tools`; `detail` names the limit of
    ours that cut the answer short, if one did.
    """

    activities: list[Activity] | None = None
    detail: str | None = None


class ActivityPiece(BaseModel):
    """What has the same `index` is one activity: texts are to be joined."""

    index: int
    id: str | None = None
    toolset: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | None = None
    status: Literal["in_progress", "completed", "failed", "incomplete"] | None = None
    error: str | None = None


class ToldPiece(BaseModel):
    activity: ActivityPiece | None = None
    detail: str | None = None


class ChatCompletion(BaseModel):
    """`metadata` is there if it is stored."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage
    service_tier: str | None = None
    system_fingerprint: str | None = None
    metadata: dict[str, str] | None = None
    trunkline: Told | None = None


class CallDelta(BaseModel):
    """`id`, `type` and the name come once, in the first delta of an `index`."""

    index: int
    id: str | None = None
    type: Literal["function", "custom"] | None = None
    function: dict[str, str] | None = None
    custom: dict[str, str] | None = None


class Delta(BaseModel):
    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[CallDelta] | None = None


class ChunkChoice(BaseModel):
    index: Literal[0]
    delta: Delta
    logprobs: Logprobs | None
    finish_reason: FinishReason | None


class ChatCompletionChunk(BaseModel):
    """One `data:` line of a stream. `choices` is empty in the last one, which carries `usage`."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: CompletionUsage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    trunkline: ToldPiece | None = None
