"""Tools, the choice among them, and the format of the answer, as a chat request says them."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, StringConstraints

from trunkline_api.errors import invalid
from trunkline_api.wire.base import FreeObject, Many, NonEmpty, ToolName, Wire


class Function(Wire):
    name: ToolName
    description: str | None = None
    parameters: FreeObject | None = None
    strict: bool | None = None


class FunctionTool(Wire):
    type: Literal["function"]
    function: Function


class TextFormat(Wire):
    type: Literal["text"]


class Grammar(Wire):
    definition: NonEmpty
    syntax: Literal["lark", "regex"]


class GrammarFormat(Wire):
    type: Literal["grammar"]
    grammar: Grammar


class Custom(Wire):
    name: ToolName
    description: str | None = None
    format: Annotated[TextFormat | GrammarFormat, Field(discriminator="type")] | None = None


class CustomTool(Wire):
    type: Literal["custom"]
    custom: Custom


Tool: TypeAlias = Annotated[FunctionTool | CustomTool, Field(discriminator="type")]


class Named(Wire):
    name: ToolName


class FunctionChoice(Wire):
    type: Literal["function"]
    function: Named


class CustomChoice(Wire):
    type: Literal["custom"]
    custom: Named


ToolReference: TypeAlias = Annotated[FunctionChoice | CustomChoice, Field(discriminator="type")]


class AllowedTools(Wire):
    mode: Literal["auto", "required"]
    tools: Annotated[Many[ToolReference], Field(min_length=1)]


class AllowedChoice(Wire):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoice: TypeAlias = (
    Literal["none", "auto", "required"]
    | Annotated[FunctionChoice | CustomChoice | AllowedChoice, Field(discriminator="type")]
)


class JsonObjectFormat(Wire):
    type: Literal["json_object"]


def check_strict(param: str, schema: dict[str, Any], strict: bool | None) -> None:
    """Raises ApiError 400 for a strict schema of anything but an object."""
    if strict and ("anyOf" in schema or schema.get("type", "object") != "object"):
        message = f"'{param}' must have the type \"object\" at its root, as it is strict."
        raise invalid(param, message, "invalid_json_schema")


class JsonSchema(Wire):
    name: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    # `schema` would hide a method of every pydantic model.
    schema_: FreeObject = Field(alias="schema")
    strict: bool | None = None


class JsonSchemaFormat(Wire):
    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat: TypeAlias = Annotated[
    TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")
]
