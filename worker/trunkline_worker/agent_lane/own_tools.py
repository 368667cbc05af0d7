"""The agent's own tools in one run, by the names that models call them."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic_ai.tools import ToolDefinition

from trunkline_shared.config.toolsets import tool_name
from trunkline_worker.backends.schemas import SchemaCheck
from trunkline_worker.toolsets.base import ToolError, Toolset, ToolSpec

logger = logging.getLogger("trunkline.tools")


@dataclass(frozen=True, slots=True)
class OwnTool:
    toolset: Toolset
    spec: ToolSpec


async def _specs(toolset: Toolset) -> Sequence[ToolSpec]:
    try:
        return await toolset.tools()
    except ToolError as error:
        logger.warning("the tools of %s are left out: %s", toolset.name, error)
        return ()


class OwnTools:
    """Where two toolsets have a tool of one name, the later one's bears its toolset's name too.

    False where the agent is to have none; where it has none now, their names are yet its own.
    """

    def __init__(self, tools: dict[str, OwnTool], *, wanted: bool) -> None:
        self._tools = tools
        self._wanted = wanted
        self._checks: dict[str, SchemaCheck | None] = {}

    @classmethod
    async def find(cls, toolsets: Sequence[Toolset]) -> "OwnTools":
        """Toolsets that cannot say what they have now are left out."""
        tools: dict[str, OwnTool] = {}
        found = await asyncio.gather(*map(_specs, toolsets))
        for toolset, specs in zip(toolsets, found, strict=True):
            for spec in specs:
                name = spec.name
                if name in tools:
                    name = tool_name(f"{toolset.name}_{name}")
                tools.setdefault(name, OwnTool(toolset, spec))
        return cls(tools, wanted=bool(toolsets))

    @property
    def names(self) -> set[str]:
        return {*self._tools}

    def __bool__(self) -> bool:
        return self._wanted

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def get(self, name: str) -> OwnTool | None:
        return self._tools.get(name)

    def definitions(self) -> list[ToolDefinition]:
        return [
            ToolDefinition(
                name=name,
                description=tool.spec.description,
                parameters_json_schema=dict(tool.spec.parameters),
            )
            for name, tool in self._tools.items()
        ]

    def arguments(self, name: str, text: str) -> dict[str, Any]:
        """Of a call, as the tool's schema wants them; for a thread, as schemas may be slow. Raises
        ToolError that says what does not fit."""
        try:
            arguments = orjson.loads(text or "{}")
        except orjson.JSONDecodeError as error:
            raise ToolError(f"The arguments are not JSON: {error}.") from None
        if not isinstance(arguments, dict):
            raise ToolError("The arguments are not a JSON object.")
        try:
            problem = check.problem(arguments) if (check := self._check(name)) else None
        except ValueError:
            problem = None  # a schema that nobody can follow: the tool knows best
        if problem is not None:
            raise ToolError(f"The arguments do not fit the tool's parameters: {problem}.")
        return arguments

    def unknown(self, name: str) -> str:
        """What a model is told that calls a tool which is not there."""
        return f"There is no tool {name!r}. Yours are: {', '.join(self._tools) or 'none'}."

    def _check(self, name: str) -> SchemaCheck | None:
        if name not in self._checks:
            try:
                self._checks[name] = SchemaCheck(self._tools[name].spec.parameters)
            except ValueError:
                self._checks[name] = None
        return self._checks[name]
