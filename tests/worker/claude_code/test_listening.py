import json
from typing import Any

from tests.fakes.anthropic_scripts import reply_to
from tests.fakes.anthropic_wire import input_tokens
from trunkline_shared.config.toolsets import ExecutionTools
from trunkline_shared.events import ReasoningDelta, RunEvent, TextDelta, Usage
from trunkline_worker.claude_code.grants import granted
from trunkline_worker.claude_code.listening import Listening, usage_of


def heard(model: str, *, quiet: bool = False, **body: Any) -> tuple[Listening, list[RunEvent]]:
    asked = {"messages": [{"role": "user", "content": "hi"}], **body, "model": model}
    reply = reply_to({**asked, "stream": True}, {}, 1)
    listening = Listening(granted([ExecutionTools()], {}), 4, quiet)
    events: list[RunEvent] = []
    for step in reply.steps:
        assert isinstance(step, bytes)
        data = step.partition(b"data: ")[2]
        events += listening.hear(json.loads(data))
    assert listening.complete and input_tokens(asked) == 1
    return listening, events


def test_text_and_thinking_are_told_as_they_come() -> None:
    listening, events = heard("thinking")
    assert events == [
        ReasoningDelta("Let me "),
        ReasoningDelta("think."),
        TextDelta("Done "),
        TextDelta("thinking"),
    ]
    assert (listening.text, listening.stop) == ("Done thinking", "end_turn")
    assert listening.usage == Usage(1, 5)


def test_calls_are_gathered_with_their_arguments() -> None:
    schema = {"type": "object", "properties": {"command": {"type": "string"}}}
    tools = [{"name": name, "input_schema": schema} for name in ("Bash", "mcp__a__b")]
    listening, events = heard("tools-parallel", tools=tools)
    assert not events and listening.stop == "tool_use"
    told = [(call.index, call.name, call.toolset) for call in listening.calls]
    assert told == [(4, "Bash", "execution"), (5, "b", "claude_code")]
    assert json.loads(listening.calls[0].arguments) == {"command": "text"}


def test_an_answer_in_a_format_is_neither_text_nor_a_call() -> None:
    assert heard("words-3", quiet=True)[1] == []
    tools = [{"name": "StructuredOutput", "input_schema": {"type": "object"}}]
    assert heard("json", quiet=True, tools=tools)[0].calls == []


def test_cached_tokens_are_part_of_the_input() -> None:
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 7,
        "cache_creation_input_tokens": 5,
        "output_tokens": 3,
        "output_tokens_details": {"thinking_tokens": 2},
    }
    assert usage_of(usage) == Usage(22, 3, 7, 5, 2)
