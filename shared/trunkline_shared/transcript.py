"""The transcript in neutral form: what was said so far, and what the caller asks of the run.

Items are plain JSON values of fixed shape, so that they cross Redis without conversion. An
assistant's turn is a run of `message`, `reasoning` and `tool_call` items; backends fold
neighbours into one turn of their own wire format.
"""

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict


class TextPart(TypedDict):
    type: Literal["text"]
    text: str


class ImagePart(TypedDict):
    type: Literal["image"]
    url: str
    detail: NotRequired[str]


class AudioPart(TypedDict):
    type: Literal["audio"]
    data: str
    format: str


class FilePart(TypedDict):
    type: Literal["file"]
    file_id: NotRequired[str]
    filename: NotRequired[str]
    data: NotRequired[str]


class RefusalPart(TypedDict):
    type: Literal["refusal"]
    text: str


Part: TypeAlias = TextPart | ImagePart | AudioPart | FilePart | RefusalPart


Role: TypeAlias = Literal["system", "developer", "user", "assistant"]
Phase: TypeAlias = Literal["commentary", "final_answer"]


class Message(TypedDict):
    """`phase`, of what the assistant said: on the way to its answer, or the answer. `status` is
    there where it was cut off.
    """

    type: Literal["message"]
    role: Role
    content: list[Part]
    name: NotRequired[str]
    phase: NotRequired[Phase]
    status: NotRequired[Literal["incomplete"]]


class Reasoning(TypedDict):
    """`text` is empty where a provider gave no more than a `summary`, in its parts."""

    type: Literal["reasoning"]
    text: str
    summary: NotRequired[list[str]]


class ToolCall(TypedDict):
    """`toolset` is there if it was a call of one of the agent's own tools, not of the caller's.
    `namespace` is what the caller knows apart in the `name`.
    """

    type: Literal["tool_call"]
    id: str
    name: str
    arguments: str
    kind: Literal["function", "custom"]
    toolset: NotRequired[str]
    namespace: NotRequired[str]


class ToolResult(TypedDict):
    """`toolset` as in its call. `is_error` is there, and true, if the agent's own tool failed.
    `kind` is there if the caller said that it answers a custom tool.
    """

    type: Literal["tool_result"]
    id: str
    content: list[Part]
    kind: NotRequired[Literal["custom"]]
    toolset: NotRequired[str]
    is_error: NotRequired[bool]


class Opaque(TypedDict):
    """An item only its `origin` understands; kept and handed back as it came."""

    type: Literal["opaque"]
    origin: str
    value: dict[str, Any]


Item: TypeAlias = Message | Reasoning | ToolCall | ToolResult | Opaque


class Tool(TypedDict):
    """One of the caller's tools; `spec` is a function's JSON Schema, or a custom tool's format as
    chat completions say it.
    """

    type: Literal["function", "custom"]
    name: str
    description: NotRequired[str]
    spec: NotRequired[dict[str, Any]]
    strict: NotRequired[bool]


class ToolChoice(TypedDict):
    """`named` carries one tool in `tools`; `allowed` and `allowed_required` those allowed."""

    mode: Literal["none", "auto", "required", "named", "allowed", "allowed_required"]
    tools: NotRequired[list[Tool]]


class Format(TypedDict):
    type: Literal["text", "json_object", "json_schema"]
    name: NotRequired[str]
    description: NotRequired[str]
    schema: NotRequired[dict[str, Any]]
    strict: NotRequired[bool]


class Options(TypedDict, total=False):
    """What the caller asks of the model. Absent: the agent's own setting, else the model's."""

    temperature: float
    top_p: float
    max_output_tokens: int
    stop: list[str]
    seed: int
    presence_penalty: float
    frequency_penalty: float
    logit_bias: dict[str, float]
    logprobs: bool
    top_logprobs: int
    reasoning_effort: str
    reasoning_summary: str
    verbosity: str
    service_tier: str
    parallel_tool_calls: bool
    prediction: dict[str, Any]
    prompt_cache_key: str
    prompt_cache_retention: str
    prompt_cache_options: dict[str, Any]
    user: str
    safety_identifier: str
    metadata: dict[str, str]


def thought(item: Reasoning) -> str:
    """What is known of it, as one text."""
    return item["text"] or "\n\n".join(item.get("summary", ()))


def text_of(parts: list[Part]) -> str:
    """The text of all text parts, in order; other parts count for nothing."""
    return "".join(part["text"] for part in parts if part["type"] == "text")
