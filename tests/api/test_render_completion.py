from typing import Any

import orjson
import pytest

from tests.api.test_chat_renderer import MIXED, ROW, RUN_ID, USAGE
from trunkline_api.errors import ApiError
from trunkline_api.render.completion import render_completion
from trunkline_api.wire.chat_reply import ChatCompletion
from trunkline_shared.events import (
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    RunEvent,
    TextDelta,
    ToolCallStart,
)
from trunkline_shared.fold import Fold


def completion(*events: RunEvent) -> Any:
    fold = Fold()
    fold.add(1, events)
    value = orjson.loads(render_completion(RUN_ID, "team/a:1", fold.result()))
    ChatCompletion.model_validate(value, strict=True)
    return value


def test_a_completion_has_every_key() -> None:
    value = completion(TextDelta("Hel"), TextDelta("lo"), Finished("stop", USAGE))
    usage = value.pop("usage")
    assert usage["total_tokens"] == 30
    assert usage["prompt_tokens_details"]["cached_tokens"] == 3
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "Hello",
        "refusal": None,
        "annotations": [],
    }
    assert value == {
        "id": f"chatcmpl-{RUN_ID}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "team/a:1",
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"},
        ],
    }


def test_a_completion_says_the_same_as_its_stream() -> None:
    value = completion(*MIXED)
    choice = value["choices"][0]
    message = choice["message"]
    assert (message["content"], message["refusal"]) == ("abcd", "no")
    assert message["reasoning_content"] == "hm"
    assert message["tool_calls"] == [
        {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{"}},
        {"id": "y", "type": "custom", "custom": {"name": "g", "input": "ls"}},
    ]
    assert choice["logprobs"] == {"content": [ROW], "refusal": None}
    assert choice["finish_reason"] == "tool_calls"
    assert (value["service_tier"], value["system_fingerprint"]) == ("default", "fp")


@pytest.mark.parametrize(
    ("events", "content"),
    [
        ([], ""),
        ([RefusalDelta("no")], None),
        ([ToolCallStart(0, "a", "f")], None),
        ([ReasoningDelta("hm")], ""),
    ],
)
def test_content_is_null_only_where_something_stands_in_for_it(
    events: list[RunEvent], content: str | None
) -> None:
    message = completion(*events, Finished("stop"))["choices"][0]["message"]
    assert message["content"] == content


def test_a_failed_run_is_no_completion() -> None:
    with pytest.raises(ApiError) as caught:
        completion(TextDelta("a"), Failed("upstream_timeout", "silence"))
    assert caught.value.status == 504


def test_a_run_that_goes_on_is_no_completion() -> None:
    with pytest.raises(ValueError, match="has not ended"):
        completion(TextDelta("a"))
