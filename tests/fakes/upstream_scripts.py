"""What each model of the fake upstream says. The list of models is in `upstream.py`."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from tests.fakes.upstream_plan import planned
from tests.fakes.upstream_wire import (
    CUT,
    HANG,
    Json,
    Reply,
    Script,
    Step,
    content_text,
    prompt_tokens,
    stream,
    whole,
)


def words(count: int) -> str:
    """The text of `count` scripted words."""
    return "".join(f"w{number} " for number in range(count))


def reply_to(body: Json, headers: dict[str, str], call: int) -> Reply:
    """The answer to one chat request; `call` counts the calls of its model from 1."""
    if (failure := failure_of(body, headers, call)) is not None:
        return failure
    model = str(body.get("model"))
    name, _, argument = model.partition("-")
    script = _script(model, name, argument, body)
    if body.get("stream") and name != "whole":
        return Reply(stream(script, body), 200, "text/event-stream; charset=utf-8", chunked=True)
    return whole(script, body)


def _error(
    status: int, message: str, *, code: str | None = None, param: str | None = None, **headers: str
) -> Reply:
    kind = "invalid_request_error" if status < 429 else "server_error"
    error = {"message": message, "type": kind, "param": param, "code": code}
    return Reply.of_json({"error": error}, status, **headers)


def failure_of(body: Json, headers: dict[str, str], call: int) -> Reply | None:
    """The answer of a model that gives none."""
    model = str(body.get("model"))
    name, _, argument = model.partition("-")
    if name == "status":
        return _status(int(argument), headers)
    if name == "flaky" and call <= int(argument):
        return _error(500, "The server had an error")
    if name == "busy" and call <= int(argument):
        return _error(429, "Rate limit reached", retry_after_ms="20")
    if model == "no-quota":
        return _error(429, "You exceeded your current quota.", code="insufficient_quota")
    too_long = name == "context" and argument.isdigit() and len(body["messages"]) > int(argument)
    if model == "context-length" or too_long:
        message = "This model's maximum context length is 8 tokens."
        return _error(400, message, code="context_length_exceeded", param="messages")
    if model == "html":
        return Reply([b"<html><body>It works!</body></html>"], 200, "text/html")
    if model == "hang":
        return Reply([HANG], silent=True)
    return None


def _status(status: int, headers: dict[str, str]) -> Reply:
    if status == 401:
        key = headers.get("authorization", "").removeprefix("Bearer ")
        return _error(401, f"Incorrect API key provided: {key}.", code="invalid_api_key")
    if status == 429:
        return _error(429, "Rate limit reached", code="rate_limit_exceeded", retry_after="30")
    param = "temperature" if status == 400 else None
    return _error(status, f"status {status} as asked", param=param)


def _script(model: str, name: str, argument: str, body: Json) -> Script:
    if special := _SPECIAL.get(model):
        return special(body)
    if name == "slow":
        amount, _, rate = argument.partition("x")
        return _limited(int(amount), body, pause_s=1 / float(rate))
    number = model.rpartition("-")[2]
    count = int(number) if number.isdigit() and name not in ("flaky", "busy") else 3
    if ending := _ENDINGS.get(name):
        return replace(ending, deltas=[*_texts(count), *ending.deltas])
    return _limited(count, body)


def _limited(count: int, body: Json, pause_s: float = 0.0) -> Script:
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or count
    deltas: list[Json | Step] = []
    for word in _words(min(count, limit)):
        if pause_s:
            deltas.append(pause_s)
        deltas.append(_text(word))
    return Script(deltas, finish="length" if limit < count else "stop")


def _words(count: int) -> Iterator[str]:
    return (f"w{number} " for number in range(count))


def _texts(count: int) -> list[Json | Step]:
    return [_text(word) for word in _words(count)]


def _text(text: str) -> Json:
    return {"content": text}


def _reasoning(body: Json) -> Script:
    details = {
        "prompt_tokens_details": {"cached_tokens": prompt_tokens(body) // 2},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    deltas: list[Json | Step] = [{"reasoning_content": "Let me "}, {"reasoning_content": "think."}]
    return Script([*deltas, _text("Done "), _text("thinking")], usage_details=details)


def _tools(body: Json) -> Script:
    last = body["messages"][-1]
    if last["role"] == "tool":
        return Script([_text(f"The tool said: {content_text(last['content'])}")])
    names, choice = body.get("tools") or [], body.get("tool_choice")
    if isinstance(choice, dict) and choice["type"] in ("function", "custom"):
        wanted = choice[choice["type"]]["name"]
        names = [tool for tool in names if tool[tool["type"]]["name"] == wanted]
    if not names or choice == "none":
        return Script([_text("no "), _text("tools")])
    several = body["model"] != "tools"
    calls = [_call(index, tool) for index, tool in enumerate(names if several else names[:1])]
    if body["model"] == "tools-odd":
        return Script([_odd(call) for call in calls], finish="tool_calls")
    return Script([delta for call in calls for delta in _streamed(call)], finish="tool_calls")


def _call(index: int, tool: Json) -> Json:
    kind = tool["type"]
    name = tool[kind]["name"]
    if kind == "custom":
        return {
            "index": index,
            "id": f"call_{index}",
            "type": kind,
            "custom": {"name": name, "input": "some free text"},
        }
    arguments = json.dumps(least(tool[kind].get("parameters") or {"type": "object"}))
    return {
        "index": index,
        "id": f"call_{index}",
        "type": kind,
        "function": {"name": name, "arguments": arguments},
    }


def _streamed(call: Json) -> Iterator[Json]:
    kind = call["type"]
    key = "input" if kind == "custom" else "arguments"
    text = call[kind][key]
    yield {"tool_calls": [{**call, kind: {"name": call[kind]["name"], key: ""}}]}
    for start in range(0, len(text), 5):
        piece = {"index": call["index"], kind: {key: text[start : start + 5]}}
        yield {"tool_calls": [piece]}


def _odd(call: Json) -> Json:
    return {"tool_calls": [{"function": call["function"]}]}


def _json(body: Json) -> Script:
    wanted = body.get("response_format") or {}
    value = least(wanted["json_schema"]["schema"]) if "json_schema" in wanted else {}
    text = json.dumps(value)
    return Script([_text(text[start : start + 4]) for start in range(0, len(text), 4)])


def least(schema: Json) -> Any:
    """The least value that fits a JSON Schema of the usual kind."""
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return least(schema["anyOf"][0])
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties: Json = schema.get("properties", {})
        return {name: least(properties[name]) for name in schema.get("required", properties)}
    if kind == "array":
        return [least(schema.get("items", {}))] * int(schema.get("minItems", 0))
    return {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "null": None}[kind]


def _able(body: Json) -> Script:
    last = body["messages"][-1]
    said = content_text(last["content"] or "")
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_object":
        keys = re.findall(r"'(\w+)'", said)
        return Script([_text(json.dumps(dict.fromkeys(keys, "text")))])
    if wanted.get("type") == "json_schema":
        return _json(body)
    tool = _fitting(body, said)
    if tool is None:
        told = f"The tool said: {said}" if last["role"] == "tool" else words(3)
        return Script([_text(word) for word in re.findall(r"\S+\s*", told)])
    call = _call(0, tool)
    if "function" in call:
        filled = _filled(json.loads(call["function"]["arguments"]), said)
        call["function"]["arguments"] = json.dumps(filled, ensure_ascii=False)
    return Script([*_streamed(call)], finish="tool_calls")


def _filled(arguments: Json, said: str) -> Json:
    """With the first number that was said, and with what stood between quotes."""
    number, quoted = re.search(r"\d+", said), re.search(r"'(.+?)'", said)
    found = {"1": number and int(number[0]), '"text"': quoted and quoted[1]}
    return {name: found.get(json.dumps(value)) or value for name, value in arguments.items()}


def _fitting(body: Json, said: str) -> Json | None:
    """The tool that has to be called, or that the user speaks of."""
    choice, tools = body.get("tool_choice", "auto"), body.get("tools") or []
    if isinstance(choice, dict) and choice["type"] == "allowed_tools":
        allowed = choice["allowed_tools"]
        names = [tool[tool["type"]]["name"] for tool in allowed["tools"]]
        tools = [tool for tool in tools if tool[tool["type"]]["name"] in names]
        choice = allowed["mode"]
    by_name = {tool[tool["type"]]["name"]: tool for tool in tools}
    if isinstance(choice, dict):
        return by_name[choice[choice["type"]]["name"]]
    heard = [tool for name, tool in by_name.items() if set(name.split("_")[-1:]) & _words_of(said)]
    if body["messages"][-1]["role"] == "tool" or choice == "none":
        heard = []
    elif choice == "required":
        heard = heard or tools
    return heard[-1] if heard else None


def _words_of(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def _named_end(finish: str) -> Callable[[Json], Script]:
    return lambda body: Script(_texts(3), finish=finish)


def _error_chunk(body: Json) -> Script:
    error = {"message": "The model crashed", "type": "server_error", "param": None, "code": None}
    raw = b"data: " + json.dumps({"error": error}).encode() + b"\n\n"
    before = [] if body["model"] == "error-first" else _texts(2)
    return Script([*before, raw], finish=None, usage=None, done=False, role_first=False)


_STOP: Final = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'

_ENDINGS: Final[dict[str, Script]] = {
    "greedy": Script([]),
    "split": Script([], as_bytes=True),
    "cut": Script([CUT]),
    "silence": Script([HANG]),
    "unfinished": Script([], finish=None, usage=None, done=False),
    "no": Script([], done=False),
}

_SPECIAL: Final[dict[str, Callable[[Json], Script]]] = {
    "reasoning": _reasoning,
    "tools": _tools,
    "tools-parallel": _tools,
    "tools-odd": _tools,
    "json": _json,
    "plan": planned,
    "able": _able,
    "length": _named_end("length"),
    "filter": _named_end("content_filter"),
    "error-chunk": _error_chunk,
    "error-first": _error_chunk,
    "refusal": lambda body: Script([{"refusal": "I will "}, {"refusal": "not."}]),
    "echo-request": lambda body: Script([_text(json.dumps(body))]),
    "no-usage": lambda body: Script(_texts(3), usage=None),
    "joint-usage": lambda body: Script(_texts(3), usage="joint"),
    "open-end": lambda body: Script([*_texts(3), _STOP, HANG]),
    "eager": lambda body: Script(
        [{"role": "assistant", **_text("all at once")}],
        finish=None,
        role_first=False,
        eager_finish="stop",
    ),
    "garbage": lambda body: Script([*_texts(2), b"data: {not json\n\n"]),
}
