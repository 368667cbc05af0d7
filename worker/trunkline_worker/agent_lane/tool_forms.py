"""The caller's tools as pydantic-ai's definitions, and definitions as neutral tools. Pure."""

from typing import Any, Final, cast

from pydantic_ai.tools import ToolDefinition

from trunkline_shared.transcript import Tool
from trunkline_worker.agent_lane.history import CUSTOM_INPUT

_TOOL: Final = "trunkline"  # where a definition keeps the tool that it was made of


def definition_of(tool: Tool) -> ToolDefinition:
    """A function that a model may call; a custom tool is one of a single text."""
    return ToolDefinition(
        name=tool["name"],
        parameters_json_schema=_parameters(tool),
        description=_description(tool),
        strict=tool.get("strict"),
        metadata={_TOOL: tool},
    )


def tool_of(definition: ToolDefinition) -> Tool:
    """The tool that `definition_of` was given; else the function that the definition is."""
    kept = (definition.metadata or {}).get(_TOOL)
    if kept is not None:
        return cast(Tool, kept)
    tool = Tool(type="function", name=definition.name, spec=definition.parameters_json_schema)
    if definition.description is not None:
        tool["description"] = definition.description
    if definition.strict is not None:
        tool["strict"] = definition.strict
    return tool


def _parameters(tool: Tool) -> dict[str, Any]:
    if tool["type"] == "function":
        return tool.get("spec") or {"type": "object", "properties": {}}
    text = {"type": "string"}
    return {"type": "object", "properties": {CUSTOM_INPUT: text}, "required": [CUSTOM_INPUT]}


def _description(tool: Tool) -> str | None:
    """A format holds models to a grammar; those that only know functions are told of it."""
    said = tool.get("description")
    form = tool.get("spec") or {}
    grammar = form.get("grammar") or form
    if tool["type"] == "function" or not grammar.get("definition"):
        return said
    rule = f"The {CUSTOM_INPUT} matches this {grammar.get('syntax')}:\n{grammar['definition']}"
    return f"{said}\n\n{rule}" if said else rule
