"""What an MCP server offers and answers, as tools and text."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from trunkline_shared.config.toolsets import Effect, Mcp, tool_name
from trunkline_worker.toolsets.base import ToolSpec, unlike

if TYPE_CHECKING:
    from mcp_types import CallToolResult, ContentBlock, Tool

MAX_TEXT: Final = 1 << 20
"""Characters of one result; the rest is cut off."""


def specs(tools: "Iterable[Tool]", config: Mcp) -> Mapping[str, tuple[str, ToolSpec]]:
    """The allowed ones by the name that models know, each with the server's own name for it."""
    found: dict[str, tuple[str, ToolSpec]] = {}
    for tool in tools:
        if tool.name in config.disabled_tools:
            continue
        if config.tools is not None and tool.name not in config.tools:
            continue
        name = unlike(found, tool_name(config.prefix + tool.name))
        text = tool.description or tool.title or tool.name
        spec = ToolSpec(name, text, tool.input_schema, config.effect or _effect(tool))
        found[name] = tool.name, spec
    return found


def _effect(tool: "Tool") -> Effect:
    """As the server says. Should it lie, its own tool is called twice where a worker died."""
    hints = tool.annotations
    if hints is None:
        return "at_most_once"
    if hints.read_only_hint:
        return "pure"
    return "idempotent" if hints.idempotent_hint else "at_most_once"


def text_of_result(result: "CallToolResult") -> str:
    """What a model can read of it. Structured content counts where nothing says it as text."""
    pieces = [_text(block) for block in result.content]
    if result.structured_content is not None and not any(pieces):
        pieces = [json.dumps(result.structured_content, ensure_ascii=False)]
    text = "\n".join(piece for piece in pieces if piece)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "\n[the rest was cut off]"


def _text(block: "ContentBlock") -> str:
    match block.type:
        case "text":
            return block.text
        case "image" | "audio":
            return f"[{block.type} {block.mime_type}, {len(block.data) * 3 // 4} bytes]"
        case "resource_link":
            return f"[resource {block.name}: {block.uri}]"
        case "resource":
            held = block.resource
            text = getattr(held, "text", None)  # else it is a blob
            return text if isinstance(text, str) else f"[resource {held.uri}, {held.mime_type}]"
