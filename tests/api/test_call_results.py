"""Calls of the caller's tools and their results go together, or are refused by name."""

from typing import Any

import pytest

from tests.api.chat_bodies import ASKS, body
from tests.api.test_responses_request import run as responses
from trunkline_api.chat_request import fill_in
from trunkline_api.errors import ApiError
from trunkline_api.wire.chat import parse_chat
from trunkline_shared.run import RunRequest, new_run_id
from trunkline_shared.transcript import Item

CONVERSATION = "c0ffee00-0000-4000-8000-000000000000"


def chat(*messages: Any, conversation: str = "") -> RunRequest:
    run = RunRequest(new_run_id(), "echo", conversation=conversation)
    fill_in(run, parse_chat(body(messages=[*messages])))
    return run


def calls(*ids: str) -> dict[str, Any]:
    made = [
        {"id": id, "type": "function", "function": {"name": "f", "arguments": ""}} for id in ids
    ]
    return {"role": "assistant", "content": None, "tool_calls": made}


def result(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "done"}


def refusal(make: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        make()
    assert (caught.value.status, caught.value.type) == (400, "invalid_request_error")
    return caught.value


def test_calls_that_are_answered_in_any_order_pass() -> None:
    turn = [ASKS, calls("a", "b"), result("b"), result("a")]
    assert len(chat(*turn).transcript) == 5
    assert chat(*turn, calls("a"), result("a"), ASKS)


@pytest.mark.parametrize(
    ("after", "missing"),
    [([], "a, b"), ([result("b")], "a"), ([ASKS, result("a")], "a, b"), ([calls("c")], "a, b")],
)
def test_a_call_without_its_result_is_named(after: list[Any], missing: str) -> None:
    error = refusal(lambda: chat(ASKS, calls("a", "b"), *after))
    assert error.param == "messages[1]"
    assert error.message.endswith(f"none answers {missing}.")


def test_a_result_without_its_call_is_named_unless_the_conversation_may_have_it() -> None:
    error = refusal(lambda: chat(ASKS, result("x")))
    assert error.param == "messages[1].tool_call_id"
    assert chat(result("x"), conversation=CONVERSATION).transcript[0]["type"] == "tool_result"


KINDS = [("function_call", "arguments"), ("custom_tool_call", "input")]


@pytest.mark.parametrize(("kind", "member"), KINDS)
def test_items_of_responses_go_together_wherever_they_stand(kind: str, member: str) -> None:
    call = {"type": kind, "call_id": "c", "name": "f", member: ""}
    done = {"type": f"{kind}_output", "call_id": "c", "output": "ok"}
    assert len(responses(input=[ASKS, call, ASKS, done]).transcript) == 4
    error = refusal(lambda: responses(input=[ASKS, call]))
    assert (error.param, error.message) == (
        "input",
        "No tool output found for the call c in 'input'.",
    )
    error = refusal(lambda: responses(input=[ASKS, done, call, done]))
    assert error.param == "input[1].call_id"
    assert responses(CONVERSATION, input=[done])


def test_what_a_response_follows_has_calls_too() -> None:
    call: Item = {
        "type": "tool_call",
        "id": "c",
        "name": "f",
        "arguments": "{}",
        "kind": "function",
    }
    done = {"type": "function_call_output", "call_id": "c", "output": "ok"}
    assert responses(before=[call], input=[done])
    asked: Any
    for asked in ([ASKS], "more"):
        error = refusal(lambda asked=asked: responses(before=[call], input=asked))
        assert error.param == "input" and "call c" in error.message
    own: Any = {**call, "toolset": "files"}
    assert refusal(lambda: responses(before=[own], input=[done])).param == "input[0].call_id"
