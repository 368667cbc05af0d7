import time

from tests.api.test_stored_responses import message
from tests.worker.agent_lane.items import FILE, IMAGE, call, opaque, reasoning, result
from tests.worker.agent_lane.items import message as said
from trunkline_shared.compaction import (
    KEPT_SIZE,
    TAIL_SIZE,
    asking,
    kept,
    problem,
    split,
    summarized,
)
from trunkline_shared.events import (
    Compacted,
    Failed,
    Finished,
    RefusalDelta,
    RunEvent,
    TextDelta,
    ToolCallStart,
)
from trunkline_shared.fold import Fold, Folded, decode, encode
from trunkline_shared.fold import said as added
from trunkline_shared.transcript import text_of


def test_a_model_is_shown_who_said_what_and_all_images() -> None:
    items = [
        said("user", "look", IMAGE, "please"),
        reasoning("hm"),
        opaque(),
        said("assistant", {"type": "refusal", "text": "No."}),
        call("c1"),
        result("c1", "seen"),
    ]
    shown = asking(items)
    assert shown["role"] == "user"
    assert [part["type"] for part in shown["content"]] == ["text", "image", "text"]
    text = text_of(shown["content"])
    assert "[user]\nlookplease\n\n[assistant]\nNo.\n\n[assistant calls " in text
    assert "seen\n\n---\nNow" in text and "hm" not in text


def test_ten_thousand_turns_are_shown_in_no_time() -> None:
    items = [said(role, "x" * 200) for _ in range(10_000) for role in ("user", "assistant")]
    began_s = time.process_time()
    (part,) = asking(items)["content"]
    assert time.process_time() - began_s < 1  # to add up piece by piece took 16
    assert part["type"] == "text" and len(part["text"]) > 20_000 * 200


def test_instructions_stay_as_they_were_and_once() -> None:
    items = [message("system", "a"), message("user", "b"), message("system", "a")]
    *instructions, summary = summarized([*items, message("developer", "c")], "s")
    assert instructions == [message("system", "a"), message("developer", "c")]
    assert text_of(summary["content"]).startswith("[Summary of the earlier conversation")  # type: ignore[typeddict-item]


def test_what_users_said_last_is_kept_but_no_summary() -> None:
    old, new = message("user", "x" * KEPT_SIZE), message("user", "new")
    summary = summarized([], "s")
    assert kept([old, *summary, message("assistant", "y"), new]) == [new]
    assert kept([old, message("assistant", "y")]) == [old]


def test_an_image_counts_as_much_as_models_read_of_it() -> None:
    picture = said("user", {"type": "image", "url": "data:," + "x" * KEPT_SIZE})
    assert kept([picture]) == [picture]
    assert kept([picture] * 50) == [picture] * 20
    assert kept([said("user", FILE)]) == [said("user", FILE)]


def test_the_last_question_and_what_came_of_it_stay_as_they_are() -> None:
    past = [message("user", "a"), message("assistant", "b")]
    now = [message("user", "c"), call("c1"), result("c1", "d")]
    assert split([*past, *now]) == (past, now)
    long = [*past, message("user", "c"), call("c1"), result("c1", "x" * TAIL_SIZE)]
    assert split(long) == (long, [])
    assert split(past) == ([], past)  # a question alone, answered as it is


def test_where_only_users_spoke_there_is_nothing_to_sum_up() -> None:
    items = [message("system", "a"), message("user", "x" * TAIL_SIZE), message("user", "b")]
    assert split(items) == ([], items)
    assert split([]) == ([], [])


def folded(*events: RunEvent) -> Folded:
    fold = Fold()
    fold.add(1, events)
    return fold.result()


def test_only_a_whole_answer_is_a_summary() -> None:
    assert problem(folded(TextDelta("s"), Finished("stop"))) is None
    for wrong, why in (
        (folded(TextDelta("s"), Finished("length", detail="limits.max_tokens reached")), "limits"),
        (folded(TextDelta("s"), RefusalDelta("No."), Finished("stop")), "refused"),
        (folded(TextDelta("  "), Finished("stop")), "nothing"),
        (folded(ToolCallStart(0, "c1", "look"), Finished("tool_calls")), "nothing"),
        (folded(TextDelta("s"), Failed("upstream_error", "It broke.")), "It broke."),
    ):
        assert why in (problem(wrong) or "")


def test_a_compaction_is_an_item_of_its_own_and_stays_in_the_history() -> None:
    answer = folded(Compacted("sealed"), TextDelta("hi"), Finished("stop"))
    assert [(item.kind, item.status) for item in answer.items] == [
        ("compaction", "completed"),
        ("message", "completed"),
    ]
    assert answer.text == "hi" and decode(encode(answer)).items == answer.items
    first, _ = added(answer)
    assert first["type"] == "opaque"
    assert first["value"] == {"type": "compaction", "encrypted_content": "sealed"}
