"""The model `plan`: the prompt says what it says and calls, step for step.

    plan({"say": "I look. ", "calls": [("look", {"at": "x"})]}, {"say": "Done."})

is such a prompt. Arguments that are a text are sent as they are, and are the input of a tool that
the request calls `custom`. `finish` is the finish reason.
After the last step it repeats what was last said to it.
"""

import json
from collections.abc import Iterator

from tests.fakes.upstream_wire import Json, Script, content_text
from tests.fakes.upstream_wire import Step as Wired

_MARK = "plan: "


def plan(*steps: Json) -> str:
    return _MARK + json.dumps(steps)


def planned(body: Json) -> Script:
    at, steps = next(
        (at, json.loads(text.removeprefix(_MARK)))
        for at, message in enumerate(body["messages"])
        if (text := content_text(message.get("content"))).startswith(_MARK)
    )
    number = sum(message["role"] == "assistant" for message in body["messages"][at:])
    if number >= len(steps):
        return Script([{"content": content_text(body["messages"][-1]["content"])}])
    step = steps[number]
    deltas: list[Json | Wired] = [{"content": word} for word in _words(step.get("say", ""))]
    deltas += [{"refusal": step["refuse"]}] if "refuse" in step else []
    if "stay" in step:
        deltas.append("hang")
    calls = step.get("calls", [])
    free = {tool["custom"]["name"] for tool in body.get("tools") or () if "custom" in tool}
    for index, (name, arguments) in enumerate(calls):
        kind, member = ("custom", "input") if name in free else ("function", "arguments")
        head = {"index": index, "id": f"call_{number}_{index}", "type": kind}
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        deltas.append({"tool_calls": [{**head, kind: {"name": name, member: text[:3]}}]})
        deltas.append({"tool_calls": [{"index": index, kind: {member: text[3:]}}]})
    return Script(deltas, finish=step.get("finish", "tool_calls" if calls else "stop"))


def _words(text: str) -> Iterator[str]:
    yield from (text[at : at + 4] for at in range(0, len(text), 4))
