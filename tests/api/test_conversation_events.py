from typing import Any

import pytest

from tests.api.conversation_bed import message, turn
from trunkline_api.conversation_events import EventJson, events_of, final_response, iso
from trunkline_shared.conversation import Turn
from trunkline_shared.transcript import Item


def flat(*turns: Turn) -> list[EventJson]:
    return [event for events in events_of(turns) for event in events]


def said(events: list[EventJson]) -> list[tuple[str, str, str]]:
    return [
        (event["kind"], event["source"], event["llm_message"]["content"][0]["text"])
        for event in events
    ]


def test_what_was_asked_and_answered_are_messages_in_a_chain() -> None:
    events = flat(turn(1), turn(2, "more", "ok"))
    assert said(events) == [
        ("MessageEvent", "user", "hi"),
        ("MessageEvent", "agent", "hello"),
        ("MessageEvent", "user", "more"),
        ("MessageEvent", "agent", "ok"),
    ]
    parents = [event.get("parent_id") for event in events]
    assert parents == [None, *(event["id"] for event in events[:-1])]
    assert events[1]["llm_response_id"] == "chatcmpl-run-1"
    assert events[1]["timestamp"] == iso(turn(1).ended_ms) == "2026-09-21T14:13:21.500Z"


def test_ids_are_the_same_whoever_derives_them() -> None:
    assert flat(turn(1), turn(2))[2]["id"] == flat(turn(2))[0]["id"]
    assert len({event["id"] for event in flat(turn(1), turn(2))}) == 4


def test_instructions_are_system_prompts() -> None:
    items: list[Item] = [message("developer", "Be brief."), message("user", "hi")]
    prompt, asked, _ = flat(turn(items=items))
    assert (prompt["kind"], prompt["source"]) == ("SystemPromptEvent", "agent")
    assert prompt["system_prompt"]["text"] == "Be brief."
    assert asked["parent_id"] == prompt["id"]


@pytest.mark.parametrize(
    ("outcome", "kind", "more"),
    [
        ("upstream_error", "ConversationErrorEvent", {"code": "upstream_error", "detail": "why"}),
        ("cancelled", "InterruptEvent", {"source": "user"}),
    ],
)
def test_a_failure_ends_its_turn(outcome: str, kind: str, more: dict[str, Any]) -> None:
    event = flat(turn(outcome=outcome, message="why", said=[]))[-1]
    assert event["kind"] == kind
    assert event.items() >= more.items()


def test_the_callers_tools_are_actions_and_observations() -> None:
    call: Item = {
        "type": "tool_call",
        "id": "call-1",
        "name": "weather",
        "arguments": "{}",
        "kind": "function",
    }
    result: Item = {
        "type": "tool_result",
        "id": "call-1",
        "content": [{"type": "text", "text": "sun"}],
    }
    thought: Item = {"type": "reasoning", "text": "hm"}
    _, action, observation, _ = flat(turn(1, said=[thought, call]), turn(2, items=[result]))
    assert (action["kind"], action["tool_name"]) == ("ActionEvent", "weather")
    assert action["tool_call"]["arguments"] == "{}"
    assert action["reasoning_content"] == "hm"
    assert (observation["kind"], observation["tool_name"]) == ("ObservationEvent", "weather")
    assert observation["action_id"] == action["id"]
    assert observation["observation"]["content"][0]["text"] == "sun"


def test_what_has_no_place_in_their_messages_is_named() -> None:
    items: list[Item] = [
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "image", "url": "http://x/y.png"},
                {"type": "audio", "data": "…", "format": "mp3"},
                {"type": "file", "filename": "a.pdf"},
            ],
        },
        {"type": "opaque", "origin": "x", "value": {}},
    ]
    content = flat(turn(items=items, said=[]))[0]["llm_message"]["content"]
    assert content[0]["image_urls"] == ["http://x/y.png"]
    assert [part["text"] for part in content[1:]] == ["[audio: mp3]", "[file: a.pdf]"]


def test_reasoning_without_an_answer_is_told() -> None:
    event = flat(turn(said=[{"type": "reasoning", "text": "hm"}]))[-1]
    assert event["llm_message"]["reasoning_content"] == "hm"
    assert event["llm_message"]["content"] == []


def test_the_final_response_is_the_last_thing_said() -> None:
    assert final_response([]) == ""
    assert final_response([turn(1, answer="a"), turn(2, answer="b")]) == "b"
    assert final_response([turn(1, answer="a"), turn(2, said=[])]) == "a"
