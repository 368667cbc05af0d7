"""What each model of the fake Responses API says. The list of models is in `responses.py`."""

import json
from collections.abc import Callable
from typing import Final

from tests.fakes.responses_wire import Answer, Call, Reasoning, Refusal, Text, stream
from tests.fakes.upstream_scripts import least
from tests.fakes.upstream_wire import CUT, HANG, Json, Reply, Step

PREFIX: Final = "gpt-5-"


def answer_to(body: Json) -> Reply:
    answer = _answer(body)
    return Reply(stream(answer, body), 200, "text/event-stream; charset=utf-8", chunked=True)


def _answer(body: Json) -> Answer:
    model = str(body["model"]).removeprefix(PREFIX)
    if special := _SPECIAL.get(model):
        return special(body)
    name, _, argument = model.partition("-")
    if name == "slow":
        amount, _, rate = argument.partition("x")
        return _limited(int(amount), body, 1 / float(rate))
    count = int(argument) if argument.isdigit() and name not in ("flaky", "busy") else 3
    if name in _ENDINGS:
        return Answer([Text([*_words(count), *_ENDINGS[name]])], end=None)
    if name == "greedy":
        return Answer([Text(_words(count))])
    return _limited(count, body)


def _words(count: int) -> list[str | Step]:
    return [f"w{number} " for number in range(count)]


def _limited(count: int, body: Json, pause_s: float = 0.0) -> Answer:
    limit = body.get("max_output_tokens") or count
    steps: list[str | Step] = []
    for word in _words(min(count, limit)):
        steps += [pause_s, word] if pause_s else [word]
    return Answer([Text(steps)], end="max_output_tokens" if limit < count else "completed")


def _tools(body: Json) -> Answer:
    items, choice = body["input"], body.get("tool_choice")
    items = [] if isinstance(items, str) else items
    results = [item for item in items if item.get("type") == "function_call_output"]
    if results and items[-1] == results[-1]:
        return Answer([Text([f"The tool said: {results[-1]['output']}"])])
    tools = body.get("tools") or []
    if isinstance(choice, dict) and choice["type"] == "function":
        tools = [tool for tool in tools if tool["name"] == choice["name"]]
    if not tools or choice == "none":
        return Answer([Text(["no ", "tools"])])
    if body["model"] == "tools":
        tools = tools[:1]
    calls = [
        Call(f"call_{index}", tool["name"], json.dumps(least(tool.get("parameters") or {})))
        for index, tool in enumerate(tools)
    ]
    return Answer([*calls])


def _json(body: Json) -> Answer:
    wanted: Json = (body.get("text") or {}).get("format") or {}
    text = json.dumps(least(wanted["schema"]) if "schema" in wanted else {})
    return Answer([Text([text[start : start + 4] for start in range(0, len(text), 4)])])


def _raw(event: Json) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


_ERROR: Final[Json] = {
    "type": "error",
    "code": "server_error",
    "message": "The model crashed",
    "param": None,
    "sequence_number": 99,
}
_ENDINGS: Final[dict[str, list[str | Step]]] = {
    "cut": [CUT],
    "silence": [HANG],
    "unfinished": [],
}
_SPECIAL: Final[dict[str, Callable[[Json], Answer]]] = {
    "reasoning": lambda body: Answer(
        [Reasoning(["Let me ", "think."]), Text(["Done ", "thinking"])],
        usage={
            "input_tokens_details": {"cached_tokens": 1},
            "output_tokens_details": {"reasoning_tokens": 2},
        },
    ),
    "refusal": lambda body: Answer([Refusal(["I will ", "not."])]),
    "tools": _tools,
    "tools-parallel": _tools,
    "json": _json,
    "filter": lambda body: Answer([Text(_words(3))], end="content_filter"),
    "failed": lambda body: Answer([Text(_words(2))], end="failed"),
    "error-chunk": lambda body: Answer([Text([*_words(2), _raw(_ERROR)])], end=None),
    "garbage": lambda body: Answer([Text([*_words(2), b"data: {not json\n\n"])], end=None),
}
