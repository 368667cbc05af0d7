from typing import Any, ClassVar

import pytest

from tests.api.fake_store import FakeStore
from tests.api.responses_bodies import SHELL, WEATHER
from tests.api.test_responses_route import TEXTS, Asked
from tests.api.test_stored_responses import message
from trunkline_api.stored_responses import Record
from trunkline_shared.config.models import AgentConfig, Config
from trunkline_shared.events import (
    ActivityArgs,
    ActivityEnd,
    ActivityStart,
    Finished,
    ReasoningDelta,
    RunEvent,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
)
from trunkline_shared.run import RunId, new_run_id
from trunkline_shared.transcript import Item

PNG = "data:image/png;base64,AAAA"

SAID: tuple[RunEvent, ...] = (
    ReasoningDelta("hm"),
    ActivityStart(0, "a", "look", "files"),
    ActivityArgs(0, "{}"),
    ActivityEnd(0),
    TextDelta("hello"),
    ToolCallStart(0, "c", "weather"),
    ToolArgsDelta(0, "{}"),
    ToolCallStart(1, "d", "shell", "custom"),
    ToolArgsDelta(1, "ls"),
    Finished("tool_calls"),
)


async def stored(store: FakeStore, *events: RunEvent, principal: str = "anonymous") -> RunId:
    return await store.respond(Record(principal, "echo", {}, [message("user", "hi")]), *events)


def named(*ids: str) -> list[dict[str, Any]]:
    return [{"type": "item_reference", "id": each} for each in ids]


async def test_items_that_are_named_count_as_if_they_had_been_sent() -> None:
    store = FakeStore()
    run = await stored(store, *SAID)
    ids = ("msg_{}_in0", "rs_{}_0", "mcp_{}_1", "msg_{}_2", "fc_{}_3", "ctc_{}_4")
    results: list[Any] = [
        {"type": "function_call_output", "call_id": "c", "output": "1"},
        {"type": "custom_tool_call_output", "call_id": "d", "output": "2"},
    ]
    reply = Asked(*TEXTS, store=store)
    references = named(*(each.format(run) for each in ids))
    await reply.ask(input=[*references, *results], tools=[WEATHER, SHELL])
    transcript = reply.run.transcript
    assert [item["type"] for item in transcript] == [
        *("message", "reasoning", "tool_call", "tool_result", "message"),
        *("tool_call", "tool_call", "tool_result", "tool_result"),
    ]
    assert transcript[0] == message("user", "hi")
    store.submit(reply.run.run_id, reply.record)
    found = await store.stored.find(f"resp_{reply.run.run_id}", "anonymous")
    assert found is not None and found.record.input == transcript


async def test_a_reference_needs_no_type_and_may_stand_twice() -> None:
    store = FakeStore()
    item = {"id": f"msg_{await stored(store, TextDelta('yes'), Finished('stop'))}_0"}
    reply = Asked(*TEXTS, store=store)
    await reply.ask(input=[item, item, {"role": "user", "content": "more"}])
    assert [each["type"] for each in reply.run.transcript] == ["message"] * 3


@pytest.mark.parametrize("wrong", ["msg_{}_7", "fc_{}_0", "msg_{}_in1", "msg_{}", "{}", "msg_x_0"])
async def test_what_is_no_item_is_not_found(wrong: str) -> None:
    store = FakeStore()
    run = await stored(store, TextDelta("yes"), Finished("stop"))
    hello = {"role": "user", "content": "hi"}
    reply = await Asked(*TEXTS, store=store).ask(input=[hello, *named(wrong.format(run))])
    assert (reply.status, reply.error["code"]) == (404, "item_not_found")
    assert reply.error["param"] == "input[1].id"
    assert f"Item with id '{wrong.format(run)}' not found" in reply.error["message"]


async def test_items_of_others_and_of_runs_that_go_on_are_not_found() -> None:
    store = FakeStore()
    theirs = await stored(store, TextDelta("yes"), Finished("stop"), principal="bob")
    running = await stored(store)
    for run in (theirs, running, new_run_id()):
        reply = await Asked(*TEXTS, store=store).ask(input=named(f"msg_{run}_0"))
        assert (reply.status, reply.error["code"]) == (404, "item_not_found")


class Blind(Asked):
    agents: ClassVar = {"echo": AgentConfig(name="echo", model=("cohere:command",))}
    config = Config(path="agents.yml", agents=agents)


async def test_an_image_that_is_named_is_one_that_the_agent_takes() -> None:
    store = FakeStore()
    seen: Item = {"type": "message", "role": "user", "content": [{"type": "image", "url": PNG}]}
    run = await store.respond(Record("anonymous", "echo", {}, [seen]), Finished("stop"))
    reply = await Blind(*TEXTS, store=store).ask(input=named(f"msg_{run}_in0"))
    assert (reply.status, reply.error["param"]) == (400, "input[0].content[0]")
    assert reply.error["code"] == "unsupported_parameter"


async def test_a_call_that_is_named_needs_its_result() -> None:
    store = FakeStore()
    run = await stored(store, *SAID)
    reply = await Asked(*TEXTS, store=store).ask(input=named(f"fc_{run}_3"), tools=[WEATHER])
    assert (reply.status, reply.error["param"]) == (400, "input")


async def test_no_more_is_read_than_one_request_may_be() -> None:
    store = FakeStore(max_bytes=900)
    runs = [await stored(store, TextDelta("x" * 200), Finished("stop")) for _ in range(3)]
    reply = await Asked(*TEXTS, store=store).ask(input=named(*(f"msg_{run}_0" for run in runs)))
    assert (reply.status, reply.error["code"]) == (400, "context_length_exceeded")
    assert reply.error["param"].endswith("].id")


async def test_an_item_counts_each_time_that_it_is_named() -> None:
    store = FakeStore(max_bytes=900)
    run = await stored(store, TextDelta("x" * 200), Finished("stop"))
    again = named(*[f"msg_{run}_0"] * 2)
    assert (await Asked(*TEXTS, store=store).ask(input=again)).status == 200
    reply = await Asked(*TEXTS, store=store).ask(input=again * 3)
    assert (reply.status, reply.error["code"]) == (400, "context_length_exceeded")
