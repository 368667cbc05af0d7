"""The input items of a Responses request."""

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, Discriminator, Field, Tag

from trunkline_api.wire.base import FreeObject, Many, NonEmpty, Wire
from trunkline_api.wire.media import FileData, ImageAddress, SoundData
from trunkline_api.wire.response_tools import EchoedTool, Tool

OPAQUE_TYPES: Final = frozenset(
    {
        "apply_patch_call",
        "apply_patch_call_output",
        "code_interpreter_call",
        "compaction",
        "compaction_trigger",
        "computer_call",
        "computer_call_output",
        "configuration_update",
        "file_search_call",
        "image_generation_call",
        "local_shell_call",
        "local_shell_call_output",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_list_tools",
        "program",
        "program_output",
        "shell_call",
        "shell_call_output",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    }
)
"""Items of OpenAI's own tools: kept as they came, for whoever understands them."""


class InputText(Wire):
    type: Literal["input_text"]
    text: str


class InputImage(Wire):
    type: Literal["input_image"]
    image_url: ImageAddress | None = None
    file_id: NonEmpty | None = None
    detail: Literal["auto", "low", "high", "original"] | None = None


class InputFile(Wire):
    type: Literal["input_file"]
    file_data: FileData | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None


class InputAudioData(Wire):
    data: SoundData
    format: Literal["wav", "mp3"]


class AudioInput(Wire):
    type: Literal["input_audio"]
    input_audio: InputAudioData


class OutputText(Wire):
    """What was replied; its annotations and logprobs are not read."""

    type: Literal["output_text"]
    text: str


class Refusal(Wire):
    type: Literal["refusal"]
    refusal: str


AnyPart: TypeAlias = InputText | InputImage | InputFile | AudioInput | OutputText | Refusal
InputPart: TypeAlias = Annotated[
    InputText | InputImage | InputFile | AudioInput | OutputText, Field(discriminator="type")
]
AssistantPart: TypeAlias = Annotated[OutputText | InputText | Refusal, Field(discriminator="type")]
ResultPart: TypeAlias = Annotated[InputText | InputImage | InputFile, Field(discriminator="type")]


class InputMessage(Wire):
    """A message with or without `type`."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | Annotated[Many[InputPart], Field(min_length=1)]


class OutputMessage(Wire):
    role: Literal["assistant"]
    content: str | Many[AssistantPart]
    phase: Literal["commentary", "final_answer"] | None = None


class FunctionCallItem(Wire):
    type: Literal["function_call"]
    call_id: NonEmpty
    name: NonEmpty
    namespace: NonEmpty | None = None
    arguments: str


class FunctionCallOutput(Wire):
    type: Literal["function_call_output"]
    call_id: NonEmpty
    output: str | Many[ResultPart]


class CustomToolCall(Wire):
    type: Literal["custom_tool_call"]
    call_id: NonEmpty
    name: NonEmpty
    namespace: NonEmpty | None = None
    input: str


class CustomToolCallOutput(Wire):
    type: Literal["custom_tool_call_output"]
    call_id: NonEmpty
    output: str | Many[ResultPart]


class McpCall(Wire):
    """A call that the agent made itself, with its result."""

    type: Literal["mcp_call"]
    id: NonEmpty
    server_label: str
    name: NonEmpty
    arguments: str
    output: str | None = None
    error: str | FreeObject | None = None


class ReasoningText(Wire):
    text: str


class ReasoningItem(Wire):
    type: Literal["reasoning"]
    summary: Many[ReasoningText] | None = None
    content: Many[ReasoningText] | None = None
    encrypted_content: str | None = None


class AdditionalTools(EchoedTool):
    """Tools that count as if they stood in `tools`."""

    type: Literal["additional_tools"]
    tools: Many[Tool]


class ItemReference(Wire):
    """An item of a stored response; 404 if there is none of that id."""

    type: Literal["item_reference"] | None = None
    id: NonEmpty


def _refuse(found: Any) -> Any:
    known = "a message, function_call, function_call_output, custom_tool_call"
    known += ", custom_tool_call_output, mcp_call, reasoning, additional_tools, item_reference"
    raise ValueError(f"{known}, or an item of OpenAI's tools")


class UnknownItem(Wire):
    """Refused with 400."""

    type: Annotated[Any, AfterValidator(_refuse)]


def _kind(item: Any) -> str:
    """The tag of the model that reads the item."""
    if not isinstance(item, dict):
        return "message"
    kind = item.get("type")
    if kind is None and "id" in item and "role" not in item:
        return "item_reference"
    if kind is None or kind == "message":
        return "assistant" if item.get("role") == "assistant" else "message"
    if not isinstance(kind, str):
        return "unknown"
    if kind in OPAQUE_TYPES:
        return "opaque"
    return kind if kind in _READ else "unknown"


_READ: Final = frozenset(
    {
        "additional_tools",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "mcp_call",
        "reasoning",
        "item_reference",
    }
)

InputItem: TypeAlias = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[OutputMessage, Tag("assistant")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[FunctionCallOutput, Tag("function_call_output")]
    | Annotated[CustomToolCall, Tag("custom_tool_call")]
    | Annotated[CustomToolCallOutput, Tag("custom_tool_call_output")]
    | Annotated[McpCall, Tag("mcp_call")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[AdditionalTools, Tag("additional_tools")]
    | Annotated[ItemReference, Tag("item_reference")]
    | Annotated[FreeObject, Tag("opaque")]
    | Annotated[UnknownItem, Tag("unknown")],
    Discriminator(_kind),
]
