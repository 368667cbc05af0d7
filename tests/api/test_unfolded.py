"""A stream that is made of a result, once the events are gone."""

from typing import Any

import orjson
import pytest

from tests.api.test_chat_renderer import MIXED, ROW, RUN_ID, USAGE
from trunkline_api.errors import ApiError
from trunkline_api.render.chat import ChatRenderer
from trunkline_api.render.unfolded import unfolded
from trunkline_api.wire.chat_reply import ChatCompletionChunk
from trunkline_shared.events import (
    ActivityArgs,
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    Attempt,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    RunEvent,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
)
from trunkline_shared.fold import Fold, Folded

ACTIVITY: list[RunEvent] = [
    TextDelta("I look. "),
    ActivityStart(0, "a", "ls", "files"),
    ActivityArgs(0, "{}"),
    ActivityOutput(0, "x"),
    ActivityEnd(0),
    ActivityStart(1, "b", "rm", "files"),
    ActivityEnd(1, "no"),
    TextDelta("Done."),
    Finished("stop", USAGE),
]
CALLS: list[RunEvent] = [
    ToolCallStart(1, "b", "shell", "custom"),
    ToolCallStart(0, "a", "weather"),
    ToolArgsDelta(1, "ls"),
    ToolArgsDelta(0, "{}"),
    Finished("tool_calls", USAGE),
]
LOGPROBS = [TextDelta("a", [ROW]), TextDelta("b", [ROW]), Finished("stop", USAGE)]
REFUSED = [ReasoningDelta("hm"), RefusalDelta("no"), Finished("content_filter", USAGE)]
SUMMED = [ReasoningDelta("a", 0), ReasoningDelta("b", 1), TextDelta("c"), Finished("stop", USAGE)]
CUT = [TextDelta("half"), Failed("worker_lost", "gone")]


def folded(*events: RunEvent) -> Folded:
    fold = Fold(lambda: 1.5)
    fold.add(1, events)
    return fold.result()


def renderer(*, show_tools: bool = False) -> ChatRenderer:
    return ChatRenderer(RUN_ID, "team/a:1", include_usage=True, show_tools=show_tools)


def whole(result: Folded, *, show_tools: bool = False) -> list[Any]:
    blocks = renderer(show_tools=show_tools).whole(result).split(b"\n\n")[:-1]
    values = [block.removeprefix(b"data: ") for block in blocks]
    chunks = [orjson.loads(value) for value in values if value != b"[DONE]"]
    for chunk in chunks:
        if "error" not in chunk:
            ChatCompletionChunk.model_validate(chunk, strict=True)
    return [*chunks, *(["[DONE]"] if values[-1] == b"[DONE]" else [])]


@pytest.mark.parametrize("events", [MIXED, ACTIVITY, CALLS, LOGPROBS, REFUSED, SUMMED, CUT])
def test_it_comes_to_the_same_result(events: list[RunEvent]) -> None:
    result = folded(*events)
    again = folded(*unfolded(result))
    for name in ("text", "reasoning", "refusal", "tool_calls", "activities", "logprobs"):
        assert getattr(again, name) == getattr(result, name)
    assert again.terminal == result.terminal


def test_each_part_is_one_delta_and_the_end_is_as_ever() -> None:
    said = [TextDelta("Hel"), TextDelta("lo"), Finished("stop", USAGE)]
    first, end, usage, done = whole(folded(*said))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "Hello"}
    assert end["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == [] and usage["usage"]["prompt_tokens"] == 10
    assert done == "[DONE]"


def test_an_answer_without_a_word_has_its_role() -> None:
    first, *_ = whole(folded(Finished("stop", USAGE)))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}


def test_what_an_agent_did_is_told_to_who_asks_for_it() -> None:
    told = [each for each in whole(folded(*ACTIVITY), show_tools=True) if "trunkline" in each]
    pieces = [each["trunkline"]["activity"] for each in told]
    ends = {piece["index"]: piece["status"] for piece in pieces if "status" in piece}
    assert ends == {0: "completed", 1: "failed"}
    assert not any("trunkline" in each for each in whole(folded(*ACTIVITY))[:-1])


def test_a_failure_after_words_ends_them_with_an_error() -> None:
    first, error = whole(folded(*CUT))
    assert first["choices"][0]["delta"]["content"] == "half"
    assert error["error"]["code"] == "worker_lost"


@pytest.mark.parametrize("before", [[], [Attempt(1)], ACTIVITY[1:5]])
def test_a_failure_before_anything_was_shown_is_a_status(before: list[RunEvent]) -> None:
    with pytest.raises(ApiError) as caught:
        renderer().whole(folded(*before, Failed("upstream_error", "broke")))
    assert caught.value.status == 502


def test_a_run_that_has_not_ended_has_no_such_stream() -> None:
    with pytest.raises(ValueError, match="not ended"):
        renderer().whole(folded(TextDelta("a")))
