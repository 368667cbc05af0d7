"""How a run's answer gets the format that its caller asked for.

*native*: the model is held to it by its provider. *tool*: the answer is what the model calls a tool
of ours with, shown as text. *prompted*: the model is told, and what is around the JSON is cut off.
"""

from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.tools import ToolDefinition

from trunkline_shared.run import RunRequest
from trunkline_shared.transcript import Format
from trunkline_worker.backends.formats import FormatCheck, asks_for_format

Mode: TypeAlias = Literal["text", "native", "tool", "prompted"]


@dataclass(frozen=True, slots=True)
class Answering:
    """`check` None: any text will do. `tool` is the name of the tool to answer with."""

    mode: Mode = "text"
    wanted: Format | None = None
    check: FormatCheck | None = None
    tool: str | None = None

    @classmethod
    async def of(
        cls,
        request: RunRequest,
        given: Literal["auto", "native", "tool", "prompted"],
        profile: ModelProfile,
        taken: Container[str],
    ) -> "Answering":
        """`taken` are the names of all other tools. Raises ValueError for a schema that is none,
        and where the model cannot do what the agent is `given`."""
        wanted = request.format
        if wanted is None or not asks_for_format(request):
            return cls()
        auto = _auto(wanted, profile)
        mode = auto if given == "auto" else given
        if mode == "native" and auto != "native":
            raise ValueError("the agent is to hand it on, and its model takes none")
        fits_a_tool = (
            profile.get("supports_tools", True) and _schema(wanted).get("type") == "object"
        )
        if mode == "tool" and not fits_a_tool:
            mode = "prompted"  # what a tool is called with is an object
        check = await FormatCheck.of(wanted)
        return cls(mode, wanted, check, _free(taken) if mode == "tool" else None)

    def parameters(self, tools: list[ToolDefinition]) -> ModelRequestParameters:
        wanted = self.wanted
        if wanted is None or (self.mode == "native" and wanted["type"] == "json_object"):
            return ModelRequestParameters(function_tools=tools)
        schema, name, description = _schema(wanted), wanted.get("name"), wanted.get("description")
        if self.tool is not None:
            answer = ToolDefinition(
                name=self.tool,
                parameters_json_schema=schema,
                description=description or "Call this with your final answer.",
                strict=wanted.get("strict"),
                kind="output",
            )
            return ModelRequestParameters(
                function_tools=tools,
                output_mode="tool",
                output_tools=[answer],
                allow_text_output=False,
            )
        return ModelRequestParameters(
            function_tools=tools,
            output_mode="native" if self.mode == "native" else "prompted",
            output_object=OutputObjectDefinition(schema, name, description, wanted.get("strict")),
        )

    def text(self, response: ModelResponse, *, whole: bool = True) -> str:
        """The answer in a response; of one that is not `whole`, all that was said."""
        if (call := self.call(response)) is not None:
            return arguments_of(call)
        text = "".join(part.content for part in response.parts if isinstance(part, TextPart))
        told = whole and self.mode not in ("text", "native")
        return _json_in(text) if told else text

    def call(self, response: ModelResponse) -> ToolCallPart | None:
        """The call that gives the answer."""
        return next(iter(self.calls(response)), None)

    def calls(self, response: ModelResponse) -> list[ToolCallPart]:
        """Some models call it more than once."""
        calls = (part for part in response.parts if isinstance(part, ToolCallPart))
        return [part for part in calls if part.tool_name == self.tool]


def arguments_of(call: ToolCallPart) -> str:
    """As the model wrote them, which may be no JSON."""
    return call.args if isinstance(call.args, str) and call.args else call.args_as_json_str()


def _auto(wanted: Format, profile: ModelProfile) -> Mode:
    if wanted["type"] == "json_object":
        return "native" if profile.get("supports_json_object_output") else "prompted"
    if profile.get("supports_json_schema_output"):
        return "native"
    return "tool" if profile.get("supports_tools", True) else "prompted"


def _free(taken: Container[str]) -> str:
    name = "answer"
    while name in taken:
        name += "_"
    return name


def _schema(wanted: Format) -> dict[str, Any]:
    return wanted.get("schema") or {"type": "object"}


def _json_in(text: str) -> str:
    """From the first bracket to the last: models put words and fences around."""
    starts = [at for mark in "{[" if (at := text.find(mark)) >= 0]
    end = max(text.rfind(mark) for mark in "}]")
    return text[min(starts) : end + 1] if starts and end >= 0 else text.strip()
