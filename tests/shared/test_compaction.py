from tests.api.test_stored_responses import message
from tests.worker.agent_lane.items import FILE, IMAGE, call, opaque, reasoning, result
from tests.worker.agent_lane.items import message as said
from trunkline_shared.compaction import KEPT_SIZE, asking, kept, summarized
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
