"""The neutral transcript as chat messages: one message for each turn of the assistant. Pure."""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from trunkline_shared.config.models import AgentConfig
from trunkline_shared.run import RunRequest
from trunkline_shared.transcript import Item, Message, Part, ToolCall, thought

Json: TypeAlias = dict[str, Any]


OPENAI: Final = frozenset({"openai", "azure"})
STRICT: Final = frozenset({"mistral", "groq", "cerebras"})
"""Upstreams that answer 4xx to fields they do not know."""


def messages(request: RunRequest, agent: AgentConfig, provider: str) -> list[Json]:
    """The agent's system prompts, then the whole transcript.

    Where the upstream is not OpenAI's, developer messages become system messages, which all
    upstreams know, and the assistant's reasoning goes along where it is taken back.
    """
    folder = _Folder(provider in OPENAI)
    for prompt in agent.system_prompt:
        folder.other({"role": "system", "content": prompt})
    for item in request.transcript:
        folder.add(item)
    for message in folder.messages:
        if "reasoning_content" in message and not _takes_reasoning(provider, message):
            del message["reasoning_content"]
        if message["content"] is None and "tool_calls" not in message:
            message["content"] = ""
    return folder.messages


def _takes_reasoning(provider: str, message: Json) -> bool:
    if provider == "deepseek":  # wants it with calls, refuses it otherwise
        return "tool_calls" in message
    return provider not in OPENAI and provider not in STRICT


class _Folder:
    def __init__(self, openai: bool) -> None:
        self.messages: list[Json] = []
        self._openai = openai
        self._turn: Json | None = None

    def add(self, item: Item) -> None:
        match item["type"]:
            case "message":
                self.message(item)
            case "reasoning":
                self.reasoning(thought(item))
            case "tool_call":
                self.tool_call(item)
            case "tool_result":
                content = self.content(item["content"])
                self.other({"role": "tool", "tool_call_id": item["id"], "content": content})
            case "opaque":
                pass  # only its origin understands it, and chat completions have none

    def other(self, message: Json) -> None:
        self._turn = None
        self.messages.append(message)

    def message(self, item: Message) -> None:
        role = item["role"]
        if role != "assistant":
            if role == "developer" and not self._openai:
                role = "system"
            message: Json = {"role": role, "content": self.content(item["content"])}
            self.other(message)
            if "name" in item:
                message["name"] = item["name"]
            return
        turn = self._open_turn()
        if turn["content"] is not None and "tool_calls" not in turn:
            turn = self._new_turn()
        # After a call no new turn may begin: the call's result must follow it.
        turn["content"] = _joined(turn["content"], self.content(item["content"]))
        if "name" in item:
            turn["name"] = item["name"]

    def reasoning(self, text: str) -> None:
        turn = self._open_turn()
        if turn["content"] is not None and "tool_calls" not in turn:
            turn = self._new_turn()
        turn["reasoning_content"] = turn.get("reasoning_content", "") + text

    def tool_call(self, item: ToolCall) -> None:
        body = {"name": item["name"]}
        body["input" if item["kind"] == "custom" else "arguments"] = item["arguments"]
        call = {"id": item["id"], "type": item["kind"], item["kind"]: body}
        self._open_turn().setdefault("tool_calls", []).append(call)

    def content(self, parts: Sequence[Part]) -> str | list[Json]:
        # Many upstreams read only a string where there is only text.
        if not parts:
            return ""
        if len(parts) == 1 and parts[0]["type"] == "text":
            return parts[0]["text"]
        return [_part(part, self._openai) for part in parts]

    def _open_turn(self) -> Json:
        return self._new_turn() if self._turn is None else self._turn

    def _new_turn(self) -> Json:
        self._turn = {"role": "assistant", "content": None}
        self.messages.append(self._turn)
        return self._turn


def _joined(first: str | list[Json] | None, second: str | list[Json]) -> str | list[Json]:
    return second if first is None else _listed(first) + _listed(second)


def _listed(content: str | list[Json]) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _part(part: Part, openai: bool) -> Json:
    match part["type"]:
        case "text":
            return {"type": "text", "text": part["text"]}
        case "refusal":
            key = "refusal" if openai else "text"  # others do not know the part
            return {"type": key, key: part["text"]}
        case "image":
            image = {"url": part["url"]}
            if "detail" in part:
                image["detail"] = part["detail"]
            return {"type": "image_url", "image_url": image}
        case "audio":
            audio = {"data": part["data"], "format": part["format"]}
            return {"type": "input_audio", "input_audio": audio}
        case "file":
            named = {_FILE_KEYS[key]: value for key, value in part.items() if key in _FILE_KEYS}
            return {"type": "file", "file": named}


_FILE_KEYS: Final = {"file_id": "file_id", "filename": "filename", "data": "file_data"}
