"""Tools that stand among the items count as if they stood in `tools`."""

from typing import Any

import orjson

from tests.api.fake_store import FakeStore
from tests.api.responses_bodies import ASKS, SEARCH, SHELL, SPACE, WEATHER, more
from tests.api.test_input_items import listed
from tests.api.test_responses_route import TEXTS, Asked
from trunkline_api.additional_tools import with_all_tools
from trunkline_api.render.response import response_id
from trunkline_api.wire.responses import parse_responses
from trunkline_shared.events import Finished, TextDelta
from trunkline_shared.transcript import Item

ITEM = {**more({**SPACE, "tools": [SHELL]}, WEATHER, SEARCH), "id": "at_1"}


def named(asked: Asked) -> list[tuple[str, str]]:
    return [(tool["type"], tool["name"]) for tool in asked.run.tools]


async def followed(store: FakeStore, **members: Any) -> str:
    """The id of a response that was asked for by that and has ended."""
    asked = Asked(*TEXTS, store=store)
    await asked.ask(**members)
    store.submit(asked.run.run_id, asked.record)
    store.finish(asked.run.run_id, TextDelta("Yes."), Finished("stop"))
    return response_id(asked.run.run_id)


async def test_a_model_is_offered_them_with_the_others() -> None:
    asked = Asked(*TEXTS)
    news = {**WEATHER, "name": "news"}
    reply = await asked.ask(input=[ITEM, ASKS], tools=[news], tool_choice="required", stream=False)
    assert named(asked) == [
        ("function", "news"),
        ("custom", "crm__shell"),
        ("function", "weather"),
    ]
    assert asked.run.tool_choice == {"mode": "required"}
    assert [tool["type"] for tool in orjson.loads(reply.body)["tools"]] == [
        *("function", "namespace", "function", "web_search")
    ]


async def test_the_item_stays_as_it_came() -> None:
    [item] = listed([ITEM])
    assert item == {**ITEM, "id": item["id"]}
    [item] = (await Asked(*TEXTS).ask(input=[ITEM, ASKS])).run.transcript[:1]
    assert item == {"type": "opaque", "origin": "responses", "value": ITEM}


async def test_they_are_there_for_what_follows_too() -> None:
    store = FakeStore()
    first = await followed(store, input=[ITEM, ASKS])
    second = await followed(store, previous_response_id=first)
    asked = Asked(*TEXTS, store=store)
    choice = {"type": "custom", "name": "shell", "namespace": "crm"}
    await asked.ask(previous_response_id=second, tool_choice=choice)
    assert named(asked) == [("custom", "crm__shell"), ("function", "weather")]


def test_of_two_of_one_name_the_later_counts() -> None:
    before: list[Item] = [{"type": "opaque", "origin": "responses", "value": more(WEATHER, SHELL)}]
    now = {**WEATHER, "description": "Better"}
    body = orjson.dumps({"model": "m", "input": [more(now), ASKS], "tools": [SHELL]})
    weather, shell = with_all_tools(parse_responses(body), before).tools or ()
    assert (getattr(weather, "description", None), shell.type) == ("Better", "custom")


def test_what_was_kept_without_being_read_offers_nothing() -> None:
    kept = {"type": "additional_tools", "tools": "?"}
    before: list[Item] = [{"type": "opaque", "origin": "responses", "value": kept}]
    body = orjson.dumps({"model": "m", "input": "hi"})
    assert with_all_tools(parse_responses(body), before).tools is None
