"""Tools in namespaces: one name for the model, a namespace and a name for the caller."""

from typing import Any

import pytest

from tests.api.fake_store import FakeStore
from tests.api.responses_bodies import SHELL, SPACE, WEATHER, body
from tests.api.test_input_items import listed
from tests.api.test_responses_renderer import RUN_ID
from tests.api.test_responses_route import TEXTS, Asked
from trunkline_api.render.response import About
from trunkline_api.render.responses import render_folded
from trunkline_api.responses_echo import echo
from trunkline_api.wire.responses import parse_responses
from trunkline_shared.events import Finished, ToolArgsDelta, ToolCallStart
from trunkline_shared.fold import Fold

DEFERRED = {**WEATHER, "name": "news", "defer_loading": True}
TOOLS = [{**SPACE, "tools": [WEATHER, DEFERRED, SHELL]}, WEATHER]
CALL = {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c", "output": "1"}


async def test_a_model_is_offered_them_all_by_names_that_differ() -> None:
    run = (await Asked(*TEXTS).ask(tools=TOOLS)).run
    assert [(tool["type"], tool["name"]) for tool in run.tools] == [
        ("function", "crm__weather"),
        ("function", "crm__news"),
        ("custom", "crm__shell"),
        ("function", "weather"),
    ]


def test_they_are_echoed_as_they_came() -> None:
    assert echo(parse_responses(body(tools=TOOLS)))["tools"][0] == TOOLS[0]


def test_a_call_tells_the_namespace_and_the_name() -> None:
    fold = Fold()
    names = ("crm__weather", "weather", "crm__unknown")
    calls = [ToolCallStart(n, f"c{n}", name) for n, name in enumerate(names)]
    custom = ToolCallStart(3, "c3", "crm__shell", "custom")
    fold.add(1, [*calls, custom, ToolArgsDelta(0, "{}"), Finished("tool_calls")])
    about = About(RUN_ID, "m", echo(parse_responses(body(tools=TOOLS))))
    told = render_folded(about, fold.result())
    assert b'"name":"weather","arguments":"{}","namespace":"crm"' in told
    assert told.count(b'"name":"weather","arguments":""') > 1
    assert b'"name":"crm__unknown"' in told and b'"crm__weather"' not in told
    assert b'"name":"shell","input":"","namespace":"crm"' in told
    assert b'"output_index":0,"name":"weather","arguments":"{}"}' in told


async def test_a_call_comes_back_as_the_model_made_it() -> None:
    sent: list[Any] = [{**CALL, "namespace": "crm"}, RESULT]
    reply = await Asked(*TEXTS).ask(input=sent, tools=TOOLS)
    call = reply.run.transcript[0]
    assert call["type"] == "tool_call" and call["name"] == "crm__weather"
    told = listed(sent)[0]
    assert (told["namespace"], told["name"]) == ("crm", "weather")


async def test_a_call_that_is_named_is_the_models_own() -> None:
    store = FakeStore()
    first = await Asked(*TEXTS, store=store).ask(tools=TOOLS)
    run_id = first.run.run_id
    store.submit(run_id, first.record)
    store.finish(run_id, ToolCallStart(0, "c", "crm__weather"), Finished("tool_calls"))
    reply = Asked(*TEXTS, store=store)
    await reply.ask(input=[{"type": "item_reference", "id": f"fc_{run_id}_0"}, RESULT])
    call = reply.run.transcript[0]
    assert call["type"] == "tool_call" and call["name"] == "crm__weather"


@pytest.mark.parametrize(
    ("choice", "mode"),
    [
        ({"type": "function", "name": "weather", "namespace": "crm"}, "named"),
        ({"type": "function", "name": "crm__weather"}, "named"),
        (
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "weather", "namespace": "crm"}],
            },
            "allowed",
        ),
    ],
)
async def test_one_of_them_can_be_chosen(choice: Any, mode: str) -> None:
    run = (await Asked(*TEXTS).ask(tools=TOOLS, tool_choice=choice)).run
    chosen: Any = {"mode": mode, "tools": [{"type": "function", "name": "crm__weather"}]}
    assert run.tool_choice == chosen
