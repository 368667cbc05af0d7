"""What an agent does with its own tools, and what is shown of it."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.fakes.upstream_plan import plan
from tests.worker.agent_lane.agents import Bench, agent, attempts, bench, looked, of, planner
from tests.worker.backends.driving import (
    batches_of,
    events_of,
    failed,
    finished,
    no_gate,
    request,
    spec,
    text_in,
)
from trunkline_shared.events import (
    ActivityArgs,
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    RunEvent,
    Step,
    TextDelta,
    ToolCallStart,
)
from trunkline_worker.backends.base import RunContext
from trunkline_worker.run_writer import RunBufferFull
from trunkline_worker.toolsets.base import Invocation, ToolError

LOOK = plan({"say": "I look. ", "calls": [("look", {"at": "x"})]}, {"say": "I saw it."})
ONCE = plan({"calls": [("look", {"at": "x"})]})


def messages_of(upstream: FakeUpstream) -> list[list[Any]]:
    return [each.body["messages"] for each in upstream.requests]


async def test_a_tool_is_called_and_the_model_goes_on_with_what_it_gave(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    tools = bench()
    async with planner(upstream, tmp_path, tools, system_prompt=("Be brief.",)) as backend:
        events = await events_of(backend, request(LOOK))
    assert tools.called == [("look", {"at": "x"})]
    assert text_in(events) == "I look. I saw it."
    assert [event for event in events if not isinstance(event, TextDelta)] == [
        Step(),
        ActivityStart(0, "call_0_0", "look", "bench"),
        ActivityArgs(0, '{"at": "x"}'),
        ActivityOutput(0, "saw x"),
        ActivityEnd(0),
        finished(events),
    ]
    assert finished(events).reason == "stop"
    second = upstream.requests[1].body["messages"]
    assert [message["role"] for message in second] == ["system", "user", "assistant", "tool"]
    assert second[-1] == {"role": "tool", "tool_call_id": "call_0_0", "content": "saw x"}


async def test_the_usage_of_all_steps_is_the_runs(upstream: FakeUpstream, tmp_path: Path) -> None:
    async with planner(upstream, tmp_path, bench()) as backend:
        usage = finished(await events_of(backend, request(LOOK))).usage
    alone = [
        sum(len(m["content"] or "") > 0 for m in r.body["messages"]) for r in upstream.requests
    ]
    assert len(alone) == 2
    assert usage.output_tokens == 4 + 3  # pieces of text and of calls
    assert usage.input_tokens > 0


async def test_calls_of_one_step_are_made_at_once(upstream: FakeUpstream, tmp_path: Path) -> None:
    both = asyncio.Barrier(2)

    async def meet(arguments: Mapping[str, Any], _: Invocation) -> str:
        await both.wait()
        return str(arguments["at"])

    prompt = plan({"calls": [("meet", {"at": "a"}), ("meet", {"at": "b"})]}, {"say": "met"})
    async with planner(upstream, tmp_path, bench(meet=meet)) as backend:
        events = await events_of(backend, request(prompt))
    assert {(e.index, e.text) for e in of(ActivityOutput, events)} == {(0, "a"), (1, "b")}
    told = upstream.requests[1].body["messages"][-2:]
    assert [message["content"] for message in told] == ["a", "b"]


async def test_what_a_tool_says_while_it_works_is_not_repeated(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    async def work(_: Mapping[str, Any], call: Invocation) -> str:
        call.say("one\n")
        call.say("two\n")
        return "one\ntwo\n[exit code 0]"

    async with planner(upstream, tmp_path, bench(work=work)) as backend:
        events = await events_of(backend, request(plan({"calls": [("work", {})]})))
    assert [e.text for e in of(ActivityOutput, events)] == ["one\n", "two\n", "[exit code 0]"]
    assert text_in(events) == "one\ntwo\n[exit code 0]"  # what the model was told


async def test_a_long_output_is_cut_with_a_note(upstream: FakeUpstream, tmp_path: Path) -> None:
    async def work(_: Mapping[str, Any], call: Invocation) -> str:
        call.say("y" * 40_000)
        return "x" * 30_012

    async with planner(upstream, tmp_path, bench(work=work)) as backend:
        events = await events_of(backend, request(plan({"calls": [("work", {})]})))
    said, result = (event.text for event in of(ActivityOutput, events))
    assert said == "y" * 30_000
    assert result == text_in(events) == "x" * 30_000 + "\n[12 more characters were cut]"


async def test_a_tool_that_fails_tells_the_model_why(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    async def work(_: Mapping[str, Any], call: Invocation) -> str:
        raise ToolError("Try a shorter path.")

    async with planner(upstream, tmp_path, bench(work=work)) as backend:
        events = await events_of(backend, request(plan({"calls": [("work", {})]})))
    assert of(ActivityEnd, events) == [ActivityEnd(0, "Try a shorter path.")]
    assert text_in(events) == '{"error":"Try a shorter path."}'  # as the model was told


async def test_a_bug_in_a_tool_is_a_failed_call_without_internals(
    upstream: FakeUpstream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(_: Mapping[str, Any], call: Invocation) -> str:
        raise KeyError("secret detail")

    async with planner(upstream, tmp_path, bench(work=work)) as backend:
        events = await events_of(backend, request(plan({"calls": [("work", {})]})))
    assert text_in(events) == '{"error":"The tool failed unexpectedly."}'
    assert "secret detail" in caplog.text
    assert finished(events).reason == "stop"


async def test_a_tool_that_cancels_itself_ends_only_its_call(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    async def work(_: Mapping[str, Any], call: Invocation) -> str:
        raise asyncio.CancelledError

    prompt = plan({"calls": [("work", {}), ("look", {})]}, {"say": "on"})
    async with planner(upstream, tmp_path, bench(work=work, look=looked)) as backend:
        events = await events_of(backend, request(prompt))
    assert text_in(events) == "on"
    assert {e.error for e in of(ActivityEnd, events)} == {"The call was interrupted.", None}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ('{"at": ', "The arguments are not JSON"),
        ("[1]", "The arguments are not a JSON object."),
        ({"at": 1}, "$.at: 1 is not of type 'string'"),
    ],
)
async def test_arguments_that_do_not_fit_are_told_to_the_model(
    upstream: FakeUpstream, tmp_path: Path, arguments: Any, told: str
) -> None:
    tools = bench()
    prompt = plan(
        {"calls": [("look", arguments)]}, {"calls": [("look", {"at": "y"})]}, {"say": "k"}
    )
    async with planner(upstream, tmp_path, tools) as backend:
        events = await events_of(backend, request(prompt))
    assert tools.called == [("look", {"at": "y"})]
    assert told in of(ActivityEnd, events)[0].error
    assert text_in(events) == "k"


async def test_a_model_that_never_calls_right_fails(upstream: FakeUpstream, tmp_path: Path) -> None:
    wrong = {"calls": [("lok", {})]}
    async with planner(upstream, tmp_path, bench()) as backend:
        events = await events_of(backend, request(plan(*[wrong] * 9)))
    assert failed(events).code == "upstream_error"
    assert failed(events).usage
    assert len(upstream.requests) == 3
    assert of(ActivityEnd, events)[0].error == "There is no tool 'lok'. Yours are: look."


async def test_the_gate_is_awaited_before_each_call(upstream: FakeUpstream, tmp_path: Path) -> None:
    asked: list[int] = []

    async def gate() -> None:
        asked.append(len(upstream.requests))

    async with planner(upstream, tmp_path, bench()) as backend:
        await batches_of(backend, request(LOOK), gate)
    assert asked == [0, 1, 1]


async def test_what_emit_raises_in_a_tool_ends_the_run(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    async def work(_: Mapping[str, Any], call: Invocation) -> str:
        call.say("more")
        return "more"

    def emit(events: Sequence[RunEvent]) -> None:
        if of(ActivityOutput, events):
            raise RunBufferFull("full")

    prompt = plan({"calls": [("work", {}), ("work", {})]})
    async with planner(upstream, tmp_path, bench(work=work)) as backend:
        with pytest.raises(RunBufferFull):
            await backend.run(request(prompt), RunContext(no_gate, emit))


async def test_cancelling_a_run_cancels_its_tools(upstream: FakeUpstream, tmp_path: Path) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def work(_: Mapping[str, Any], call: Invocation) -> str:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    prompt = plan({"calls": [("work", {}), ("look", {})]})
    async with planner(upstream, tmp_path, bench(work=work, look=looked)) as backend:
        task = asyncio.create_task(events_of(backend, request(prompt)), name="run")
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert ended.is_set()


async def test_a_workspace_is_made_for_the_tools_and_goes_with_the_run(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    seen: list[Path] = []

    async def work(_: Mapping[str, Any], call: Invocation) -> str:
        assert call.workspace.path.is_dir()
        seen.append(call.workspace.path)
        return "ok"

    root = tmp_path / "spaces"
    prompt = plan({"calls": [("work", {}), ("work", {})]}, {"calls": [("work", {})]})
    async with planner(upstream, root, bench(work=work)) as backend:
        await events_of(backend, request(plan({"say": "no tool"})))
        assert not root.exists()
        await events_of(backend, request(prompt))
    assert len(seen) == 3 and len(set(seen)) == 1
    assert not seen[0].exists()


async def test_tools_of_one_name_are_told_apart_by_their_toolsets(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    one, two = bench(), Bench({"look": looked}, name="two words")
    prompt = plan({"calls": [("two_words_look", {"at": "x"})]}, {"say": "k"})
    async with planner(upstream, tmp_path, one, two) as backend:
        await events_of(backend, request(prompt))
    assert (one.called, two.called) == ([], [("look", {"at": "x"})])


async def test_a_toolset_that_cannot_say_what_it_has_is_left_out(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    class Away(Bench):
        async def tools(self) -> Any:
            raise ToolError("it is away")

    async with planner(upstream, tmp_path, Away({}), bench()) as backend:
        assert text_in(await events_of(backend, request(LOOK))) == "I look. I saw it."
    offered = upstream.requests[0].body["tools"]
    assert [tool["function"]["name"] for tool in offered] == ["look"]


async def test_toolsets_are_open_as_long_as_the_backend_is(upstream: FakeUpstream) -> None:
    class Broken(Bench):
        async def open(self) -> None:
            raise ValueError("no server")

    tools = bench()
    async with agent(spec(upstream, "plan"), toolsets=[tools]) as backend:
        await backend.open()
        assert tools.is_open
        await backend.aclose()
        assert not tools.is_open
    async with agent(spec(upstream, "plan"), toolsets=[tools, Broken({})]) as backend:
        with pytest.raises(ValueError, match="no server"):
            await backend.open()
        assert not tools.is_open


async def test_no_call_of_the_agents_own_is_shown_as_the_callers(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    run = attempts(ONCE)
    async with planner(upstream, tmp_path, bench()) as backend:
        await run.attempt(backend)
    assert not of(ToolCallStart, run.log)
