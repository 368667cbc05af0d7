"""The messages of a chat completion request."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from trunkline_api.wire.base import Many, NonEmpty, Wire
from trunkline_api.wire.media import FileData, ImageAddress, SoundData


class TextPart(Wire):
    type: Literal["text"]
    text: str


class ImageUrl(Wire):
    url: ImageAddress
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(Wire):
    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(Wire):
    data: SoundData
    format: Literal["wav", "mp3"]


class AudioPart(Wire):
    type: Literal["input_audio"]
    input_audio: InputAudio


class FileSource(Wire):
    file_data: FileData | None = None
    file_id: str | None = None
    filename: str | None = None


class FilePart(Wire):
    type: Literal["file"]
    file: FileSource


class RefusalPart(Wire):
    type: Literal["refusal"]
    refusal: str


AnyPart: TypeAlias = TextPart | ImagePart | AudioPart | FilePart | RefusalPart

InstructionContent: TypeAlias = str | Annotated[Many[TextPart], Field(min_length=1)]
UserPart: TypeAlias = Annotated[
    TextPart | ImagePart | AudioPart | FilePart, Field(discriminator="type")
]
UserContent: TypeAlias = str | Annotated[Many[UserPart], Field(min_length=1)]
AssistantPart: TypeAlias = Annotated[TextPart | RefusalPart, Field(discriminator="type")]
AssistantContent: TypeAlias = str | Many[AssistantPart]
# Wider than OpenAI's, which takes text only: tools that take screenshots answer with images.
ToolPart: TypeAlias = Annotated[TextPart | ImagePart | FilePart, Field(discriminator="type")]
ToolContent: TypeAlias = str | Many[ToolPart]


class SystemMessage(Wire):
    role: Literal["system"]
    content: InstructionContent
    name: str | None = None


class DeveloperMessage(Wire):
    role: Literal["developer"]
    content: InstructionContent
    name: str | None = None


class UserMessage(Wire):
    role: Literal["user"]
    content: UserContent
    name: str | None = None


class FunctionCall(Wire):
    name: NonEmpty
    arguments: str


class CustomCall(Wire):
    name: NonEmpty
    input: str


class ToolCall(Wire):
    """A call as it was replied; `type` may be left out, as older clients do."""

    id: NonEmpty
    type: Literal["function", "custom"] = "function"
    function: FunctionCall | None = None
    custom: CustomCall | None = None


class AssistantMessage(Wire):
    role: Literal["assistant"]
    content: AssistantContent | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: Many[ToolCall] | None = None
    function_call: FunctionCall | None = None
    audio: dict[str, Any] | None = None
    # No official member, so of any type: a string is the reasoning this server replied.
    reasoning_content: Any = None


class ToolMessage(Wire):
    role: Literal["tool"]
    content: ToolContent
    tool_call_id: NonEmpty


class FunctionMessage(Wire):
    """The result of an old `function_call`, found by its name."""

    role: Literal["function"]
    content: str | None
    name: NonEmpty


Message: TypeAlias = Annotated[
    SystemMessage
    | DeveloperMessage
    | UserMessage
    | AssistantMessage
    | ToolMessage
    | FunctionMessage,
    Field(discriminator="role"),
]
