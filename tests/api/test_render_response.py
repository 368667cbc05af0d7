from typing import Any

import pytest

from tests.api.test_responses_renderer import (
    ABOUT,
    HELLO,
    ITEM_ID,
    MIXED,
    ROW,
    RUN_ID,
    USAGE,
    kinds,
    stream,
    whole,
)
from trunkline_api.errors import ApiError
from trunkline_api.render.response import run_id_of
from trunkline_api.wire.response_reply import ResponseObject
from trunkline_shared.events import Attempt, Failed, Finished, TextDelta
from trunkline_shared.run import new_run_id


def test_the_response_has_every_key_in_every_reply() -> None:
    response = whole(*HELLO)
    assert stream(*HELLO)[-1]["response"] == response
    output = response.pop("output")
    assert [item["id"] for item in output] == [ITEM_ID]
    assert response == {
        **ABOUT.echo,
        "id": f"resp_{RUN_ID}",
        "object": "response",
        "created_at": 1_700_000_000,
        "completed_at": 1_700_000_009,
        "status": "completed",
        "model": "team/a:1",
        "error": None,
        "incomplete_details": None,
        "usage": {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 4},
            "output_tokens": 20,
            "output_tokens_details": {"reasoning_tokens": 5},
            "total_tokens": 30,
            "cost": 0.25,
        },
    }
    for event in stream(*HELLO):
        if "response" in event:
            ResponseObject.model_validate(event["response"], strict=True)
            assert event["response"].keys() == {*response, "output"}


def test_items_of_all_kinds_have_openais_shape() -> None:
    reasoning, message, function, custom, _ = whole(*MIXED)["output"]
    assert reasoning == {
        "type": "reasoning",
        "id": f"rs_{RUN_ID}_0",
        "status": "completed",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "hm"}],
        "encrypted_content": None,
    }
    assert message["content"][1] == {"type": "refusal", "refusal": "no"}
    head = {"status": "completed", "call_id": "x", "name": "f", "arguments": "{}"}
    assert function == {"type": "function_call", "id": f"fc_{RUN_ID}_2", **head}
    head = {"status": "completed", "call_id": "y", "name": "g", "input": "ls"}
    assert custom == {"type": "custom_tool_call", "id": f"ctc_{RUN_ID}_3", **head}


def test_logprobs_have_bytes_always() -> None:
    top = {"token": "b", "logprob": 0, "bytes": [98]}
    row = {"token": "ä", "logprob": -0.5, "bytes": [195, 164], "top_logprobs": [top]}
    events = stream(TextDelta("ä", [ROW]), TextDelta("b"), Finished("stop"))
    rows = [event["logprobs"] for event in events if "logprobs" in event]
    assert rows == [[row], [], [row]]
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == [row]


@pytest.mark.parametrize(
    ("reason", "why"),
    [("length", "max_output_tokens"), ("content_filter", "content_filter")],
)
def test_an_answer_that_was_cut_is_incomplete(reason: Any, why: str) -> None:
    said = (TextDelta("a"), Finished(reason, USAGE))
    response = stream(*said)[-1]["response"]
    assert kinds(*said)[-1] == "incomplete"
    assert response == whole(*said)
    assert response["incomplete_details"] == {"reason": why}
    assert (response["status"], response["completed_at"]) == ("incomplete", None)
    assert response["output"][0]["status"] == "incomplete"
    assert response["usage"]["total_tokens"] == 30


def test_a_text_that_was_broken_off_is_incomplete() -> None:
    output = whole(TextDelta("Hel"), Attempt(2), TextDelta("Hello"), Finished("stop"))["output"]
    assert [(item["status"], item["content"][0]["text"]) for item in output] == [
        ("incomplete", "Hel"),
        ("completed", "Hello"),
    ]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("worker_lost", "server_error"),
        ("upstream_rate_limited", "rate_limit_exceeded"),
        ("context_length_exceeded", "invalid_prompt"),
    ],
)
def test_a_failure_is_the_last_event_and_says_why(code: str, told: str) -> None:
    failed = Failed(code, "It broke.", usage=USAGE)
    events = stream(TextDelta("a"), failed)
    assert [event["type"] for event in events].count("response.failed") == 1
    response = events[-1]["response"]
    assert events[-1]["type"] == "response.failed"
    assert (response["status"], response["completed_at"]) == ("failed", None)
    assert (response["error"]["code"], response["error"]["message"]) == (told, "It broke.")
    assert response["error"].keys() == {"code", "message", "type", "param"}
    assert response["usage"]["total_tokens"] == 30
    assert response["output"][0]["status"] == "incomplete"
    with pytest.raises(ApiError, match="It broke"):
        whole(TextDelta("a"), failed)


def test_a_response_that_was_cancelled_has_no_error() -> None:
    *_, last = stream(TextDelta("a"), Failed("cancelled", "It was cancelled.", usage=USAGE))
    response = last["response"]
    assert (last["type"], response["status"]) == ("response.failed", "cancelled")
    assert (response["error"], response["completed_at"]) == (None, None)
    assert response["usage"]["total_tokens"] == 30


def test_the_tier_that_answered_is_the_one_that_is_told() -> None:
    assert whole(*MIXED)["service_tier"] == "flex"
    assert whole(*HELLO)["service_tier"] == "default"


def test_a_response_is_called_after_its_run_and_nothing_else_is() -> None:
    run_id = new_run_id()
    assert run_id_of(f"resp_{run_id}") == run_id
    for other in ("", "resp_", run_id, f"resp_{run_id}0", f"msg_{run_id}", "resp_" + "*" * 28):
        assert run_id_of(other) is None
