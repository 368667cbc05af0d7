"""What the model says on its way through the command line, as events of a run. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trunkline_shared.events import ReasoningDelta, RunEvent, TextDelta, Usage
from trunkline_worker.claude_code.grants import ANSWER_TOOL, Grants
from trunkline_worker.claude_code.progress import Call


@dataclass(slots=True)
class Listening:
    """One answer of the model. `quiet`: its text is not the run's, which answers in a format.

    `complete` with its last event; `stop` is Anthropic's reason.
    """

    grants: Grants
    first_index: int
    quiet: bool = False
    text: str = ""
    model: str = ""
    stop: str | None = None
    complete: bool = False
    calls: list[Call] = field(default_factory=list)
    _usage: dict[str, Any] = field(default_factory=dict)
    _blocks: dict[int, Call] = field(default_factory=dict)

    def hear(self, event: Mapping[str, Any]) -> list[RunEvent]:
        """What one event of Anthropic's stream says to clients at once."""
        match event:
            case {"type": "message_start", "message": message}:
                self.model = message.get("model") or ""
                self._usage |= message.get("usage") or {}
            case {"type": "content_block_start", "index": at, "content_block": block}:
                return self._begun(at, block)
            case {"type": "content_block_delta", "index": at, "delta": delta}:
                return self._said(at, delta)
            case {"type": "message_delta"}:
                self.stop = (event.get("delta") or {}).get("stop_reason") or self.stop
                self._usage |= {
                    k: v for k, v in (event.get("usage") or {}).items() if v is not None
                }
            case {"type": "message_stop"}:
                self.complete = True
        return []

    @property
    def usage(self) -> Usage:
        return usage_of(self._usage)

    def _begun(self, at: int, block: Mapping[str, Any]) -> list[RunEvent]:
        match block:
            case {"type": "tool_use", "id": call_id, "name": name}:
                index = self.first_index + len(self.calls)
                grants = self.grants
                call = Call(
                    index,
                    call_id,
                    grants.name_of(name),
                    grants.toolset_of(name),
                    "",
                    grants.effect_of(name),
                )
                self._blocks[at] = call
                if name != ANSWER_TOOL:
                    self.calls.append(call)
            case {"type": "text", "text": text}:
                return self._text(text)
            case {"type": "thinking", "thinking": text} if text:
                return [ReasoningDelta(text)]
        return []

    def _said(self, at: int, delta: Mapping[str, Any]) -> list[RunEvent]:
        match delta:
            case {"type": "text_delta", "text": text}:
                return self._text(text)
            case {"type": "thinking_delta", "thinking": text} if text:
                return [ReasoningDelta(text)]
            case {"type": "input_json_delta", "partial_json": text} if at in self._blocks:
                self._blocks[at].arguments += text
        return []

    def _text(self, text: str) -> list[RunEvent]:
        if self.quiet or not text:
            return []
        self.text += text
        return [TextDelta(text)]


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Anthropic counts apart what it reads from its cache and writes to it; we do not."""
    read = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    details = usage.get("output_tokens_details") or {}
    return Usage(
        input_tokens=(usage.get("input_tokens") or 0) + read + written,
        output_tokens=usage.get("output_tokens") or 0,
        cached_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=details.get("thinking_tokens") or 0,
    )
