"""Tools, the choice among them, and the format of the answer, as a Responses request says them.

The same things as in a chat request, but flat.
"""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from trunkline_api.wire.base import FreeObject, Many, ToolName, Wire, storable
from trunkline_api.wire.tools import Grammar, JsonObjectFormat, TextFormat


class FlatFunctionTool(Wire):
    type: Literal["function"]
    name: ToolName
    description: str | None = None
    parameters: FreeObject | None = None
    strict: bool | None = None


class FlatGrammarFormat(Grammar):
    type: Literal["grammar"]


class FlatCustomTool(Wire):
    type: Literal["custom"]
    name: ToolName
    description: str | None = None
    format: Annotated[TextFormat | FlatGrammarFormat, Field(discriminator="type")] | None = None


class HostedTool(Wire):
    """What coding agents always send along: echoed as it came, the model is not told of it."""

    model_config = ConfigDict(extra="allow")

    type: Literal["namespace", "tool_search", "web_search"]

    @model_validator(mode="after")
    def _is_storable(self) -> Self:
        storable(self.model_extra or {})
        return self


Tool: TypeAlias = Annotated[
    FlatFunctionTool | FlatCustomTool | HostedTool, Field(discriminator="type")
]


class FunctionToolChoice(Wire):
    type: Literal["function"]
    name: ToolName


class CustomToolChoice(Wire):
    type: Literal["custom"]
    name: ToolName


ToolReference: TypeAlias = Annotated[
    FunctionToolChoice | CustomToolChoice, Field(discriminator="type")
]


class AllowedToolsChoice(Wire):
    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[Many[ToolReference], Field(min_length=1)]


ToolChoice: TypeAlias = (
    Literal["none", "auto", "required"]
    | Annotated[
        FunctionToolChoice | CustomToolChoice | AllowedToolsChoice, Field(discriminator="type")
    ]
)


class FlatJsonSchemaFormat(Wire):
    type: Literal["json_schema"]
    name: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    # `schema` would hide a method of every pydantic model.
    schema_: FreeObject = Field(alias="schema")
    strict: bool | None = None


class Text(Wire):
    format: (
        Annotated[TextFormat | JsonObjectFormat | FlatJsonSchemaFormat, Field(discriminator="type")]
        | None
    ) = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningOptions(Wire):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
