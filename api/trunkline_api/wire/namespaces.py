"""Tools in namespaces. A model knows each by one name, the caller by the namespace and the name."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from trunkline_api.wire.response_tools import (
    FlatCustomTool,
    FlatFunctionTool,
    NamespaceTool,
    Tool,
)

Offered: TypeAlias = tuple[str, str, FlatFunctionTool | FlatCustomTool]


def spelled(namespace: str | None, name: str) -> str:
    """The name by which a model knows the tool."""
    return name if namespace is None else f"{namespace}__{name}"


def within(namespace: str, name: str) -> str:
    """The tool's own name, of the one that a model knows."""
    return name.removeprefix(f"{namespace}__")


def offered(tools: Iterable[Tool] | None, where: str = "tools") -> Iterator[Offered]:
    """The tools that a model can call: where each stands, what it is called, and itself."""
    for index, tool in enumerate(tools or ()):
        if isinstance(tool, NamespaceTool):
            for number, inner in enumerate(tool.tools):
                yield f"{where}[{index}].tools[{number}]", spelled(tool.name, inner.name), inner
        elif isinstance(tool, FlatFunctionTool | FlatCustomTool):
            yield f"{where}[{index}]", tool.name, tool


def namespace_of(tools: Iterable[dict[str, Any]], name: str) -> str | None:
    """Of the tool that a model knows as `name`, among the `tools` that a response repeats."""
    for tool in tools:
        if tool["type"] == "namespace":
            space = tool["name"]
            if any(spelled(space, inner["name"]) == name for inner in tool["tools"]):
                return str(space)
    return None
