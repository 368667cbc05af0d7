from tests.worker.backends.driving import said
from trunkline_shared.transcript import Item
from trunkline_worker.claude_code.prompt import digest, instructions, known, prompt

IMAGE: Item = {
    "type": "message",
    "role": "user",
    "content": [
        {"type": "text", "text": "Look:"},
        {"type": "image", "url": "data:image/png;base64,QUJD"},
        {"type": "image", "url": "https://pictures.example/a.png"},
    ],
}
CALLED: list[Item] = [
    {"type": "tool_call", "id": "1", "name": "f", "arguments": "{}", "kind": "function"},
    {"type": "tool_result", "id": "1", "content": [{"type": "text", "text": "rain"}]},
]


def test_one_turn_is_told_as_it_is() -> None:
    assert prompt([said("Be brief.", "system"), said("hi")]) == [{"type": "text", "text": "hi"}]
    text, picture, link = prompt([IMAGE])
    assert text == {"type": "text", "text": "Look:"}
    assert picture["source"] == {"type": "base64", "media_type": "image/png", "data": "QUJD"}
    assert link["source"] == {"type": "url", "url": "https://pictures.example/a.png"}
    assert instructions([said("a", "system"), said("b"), said("c", "developer")]) == ["a", "c"]


def test_earlier_turns_are_folded_in_before_the_last() -> None:
    (block,) = prompt([said("a"), said("b", "assistant"), *CALLED, said("c")])
    text = block["text"]
    order = ["[user]\na", "[assistant]\nb", "called f", "[result]\nrain", "the user says:\nc"]
    assert sorted(order, key=text.index) == order
    assert prompt([]) == [{"type": "text", "text": "Go on."}]


def test_a_session_is_known_by_what_was_said_up_to_its_end() -> None:
    before = [said("sys", "system"), said("a")]
    covers = digest(before, "one two")
    pieces = [said("one ", "assistant"), said("two", "assistant")]
    assert known([*before, *pieces, said("b")], covers) == 4
    assert known([said("other", "system"), said("a"), *pieces, said("b")], covers) == 4
    assert known([*before, said("one", "assistant"), said("b")], covers) is None
    assert known([said("a"), said("one two", "user"), said("b")], covers) is None
    later = [*before, *pieces, said("b"), said("c", "assistant"), said("d")]
    assert known(later, covers) == 4


def test_pictures_count_among_what_was_said() -> None:
    other: Item = {**IMAGE, "content": IMAGE["content"][:1]}  # type: ignore[misc, index]
    assert digest([IMAGE], "x") != digest([other], "x")
