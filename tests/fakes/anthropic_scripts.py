"""What each model of the fake Anthropic server says. The list of models is in `anthropic.py`."""

import json
from collections.abc import Callable
from typing import Any, Final

from tests.fakes.anthropic_wire import (
    Block,
    Script,
    content_text,
    stream,
    text_block,
    tool_block,
    whole,
)
from tests.fakes.upstream_scripts import least
from tests.fakes.upstream_wire import CUT, HANG, Json, Reply, Step

_KINDS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def reply_to(body: Json, headers: dict[str, str], call: int) -> Reply:
    """The answer to one request; `call` counts the calls of its model from 1."""
    model = str(body.get("model"))
    name, _, argument = model.partition("-")
    if (failure := _failure(model, name, argument, headers, call)) is not None:
        return failure
    script = _script(model, name, argument, body)
    if body.get("stream"):
        return Reply(stream(script, body), 200, "text/event-stream; charset=utf-8", chunked=True)
    return whole(script, body)


def _error(status: int, message: str, **headers: str) -> Reply:
    error = {"type": _KINDS.get(status, "api_error"), "message": message}
    return Reply.of_json({"type": "error", "error": error}, status, **headers)


def _failure(
    model: str, name: str, argument: str, headers: dict[str, str], call: int
) -> Reply | None:
    if name == "status":
        return _status(int(argument), headers)
    if name == "flaky" and call <= int(argument):
        return _error(500, "Internal server error")
    if name == "busy" and call <= int(argument):
        return _error(429, "Rate limit reached", retry_after_ms="20")
    if model == "context-length":
        return _error(400, "prompt is too long: 9 tokens > 8 maximum")
    if model == "html":
        return Reply([b"<html><body>It works!</body></html>"], 200, "text/html")
    if model == "hang":
        return Reply([HANG], silent=True)
    return None


def _status(status: int, headers: dict[str, str]) -> Reply:
    if status == 401:
        key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        return _error(401, f"invalid x-api-key: {key}")
    if status == 429:
        return _error(429, "Rate limit reached", retry_after="30")
    if status == 529:
        return _error(529, "Overloaded")
    return _error(status, f"status {status} as asked")


def _script(model: str, name: str, argument: str, body: Json) -> Script:
    if special := _SPECIAL.get(model):
        return special(body)
    if name == "slow":
        amount, _, rate = argument.partition("x")
        return _limited(int(amount), body, pause_s=1 / float(rate))
    count = int(argument) if argument.isdigit() and name not in ("flaky", "busy") else 3
    if name in ("cut", "silence"):
        return Script([text_block(*_words(count), CUT if name == "cut" else HANG)], stop=None)
    if name == "unfinished":
        return Script([text_block(*_words(count))], stop=None)
    return _limited(count, body)


def _words(count: int) -> list[str]:
    return [f"w{number} " for number in range(count)]


def _limited(count: int, body: Json, pause_s: float = 0.0) -> Script:
    limit = body.get("max_tokens") or count
    steps: list[str | Step] = []
    for word in _words(min(count, limit)):
        stop = next((each for each in body.get("stop_sequences") or () if each in word), None)
        steps += [pause_s] if pause_s else []
        if stop is not None:
            return Script([text_block(*steps)], "stop_sequence", stop)
        steps.append(word)
    return Script([text_block(*steps)], "max_tokens" if limit < count else "end_turn")


def _thinking(body: Json) -> Script:
    thought: Json = {"type": "thinking", "thinking": "", "signature": ""}
    pieces: list[Json | Step] = [
        {"type": "thinking_delta", "thinking": "Let me "},
        {"type": "thinking_delta", "thinking": "think."},
        {"type": "signature_delta", "signature": "c2lnbmVk"},
    ]
    return Script([Block(thought, pieces), text_block("Done ", "thinking")])


def _tools(body: Json) -> Script:
    if (result := _last_result(body)) is not None:
        return Script([text_block(f"The tool said: {result}")])
    tools, choice = body.get("tools") or [], body.get("tool_choice") or {}
    if choice.get("type") == "tool":
        tools = [tool for tool in tools if tool["name"] == choice["name"]]
    if not tools or choice.get("type") == "none":
        return Script([text_block("no ", "tools")])
    several = body["model"] == "tools-parallel" and not choice.get("disable_parallel_tool_use")
    return _calls(tools if several else tools[:1])


def _calls(tools: list[Json]) -> Script:
    blocks = [tool_block(tool["name"], least(tool.get("input_schema") or {})) for tool in tools]
    return Script(blocks, "tool_use")


def _json(body: Json) -> Script:
    if _last_result(body) is not None:
        return Script([text_block("Done")])
    choice, tools = body.get("tool_choice") or {}, body.get("tools") or []
    wanted = body.get("output_format") or (body.get("output_config") or {}).get("format")
    if wanted:
        text = json.dumps(least(wanted["schema"]))
        return Script([text_block(*(text[at : at + 4] for at in range(0, len(text), 4)))])
    names = (choice.get("name"), "StructuredOutput", "final_result")
    named = [tool for tool in tools if tool["name"] in names] or tools[-1:]
    return _calls(named) if named else Script([text_block("{}")])


def _scripted(body: Json) -> Script:
    """`[[tool, input], ...]` in the user's text: one call an answer, then the last result."""
    script: list[list[Any]] = []
    results: list[str] = []
    for message in body["messages"]:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in parts:
            if part["type"] == "text" and message["role"] == "user" and "[[" in part["text"]:
                text = part["text"]
                script, results = json.JSONDecoder().raw_decode(text[text.rindex("[[") :])[0], []
            elif part["type"] == "tool_result":
                results.append(content_text(part.get("content")))
    if len(results) < len(script):
        name, value = script[len(results)]
        return Script([tool_block(name, value)], "tool_use")
    return Script([text_block("The tool said: ", *results[-1:])])


def _last_result(body: Json) -> str | None:
    """What the tool gave back, if the last message holds that."""
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return None
    results = [part for part in content if part["type"] == "tool_result"]
    return content_text(results[-1].get("content")) if results else None


def _error_chunk(body: Json) -> Script:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    raw = f"event: error\ndata: {json.dumps(error)}\n\n".encode()
    return Script([text_block(*_words(2), raw)], stop=None)


def _cached(body: Json) -> Script:
    usage = {"cache_creation_input_tokens": 5, "cache_read_input_tokens": 7}
    return Script([text_block(*_words(3))], usage=usage)


_SPECIAL: Final[dict[str, Callable[[Json], Script]]] = {
    "thinking": _thinking,
    "tools": _tools,
    "tools-parallel": _tools,
    "scripted": _scripted,
    "json": _json,
    "cached": _cached,
    "error-chunk": _error_chunk,
    "length": lambda body: Script([text_block(*_words(3))], "max_tokens"),
    "refusal": lambda body: Script([text_block("I will ", "not.")], "refusal"),
    "echo-request": lambda body: Script([text_block(json.dumps(body))]),
    "garbage": lambda body: Script([text_block(*_words(2), b"data: {not json\n\n")], stop=None),
}
