import random
from collections.abc import Iterator

import pytest

from trunkline_shared.events import (
    Attempt,
    Created,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    RunEvent,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
)
from trunkline_shared.fold import Fold
from trunkline_shared.output import Output
from trunkline_shared.output_items import (
    Change,
    Closed,
    Grew,
    Opened,
    OutputItem,
    OutputPart,
    PartClosed,
    PartOpened,
)

ROW = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}


def items(*events: RunEvent) -> tuple[OutputItem, ...]:
    output = Output()
    for event in events:
        output.add(event)
    return output.items


def told(*events: RunEvent) -> list[tuple[str, str]]:
    """Kind, status and text of each item in two words."""
    return [(f"{item.kind} {item.status}", item.text) for item in items(*events)]


def test_a_text_opens_grows_and_closes() -> None:
    output = Output()
    assert output.add(Created(1)) == output.add(Attempt(1)) == []
    assert output.add(TextDelta("Hel")) == [
        Opened(0, OutputItem("message")),
        PartOpened(0, 0, "text"),
        Grew(0, 0, "text", "Hel"),
    ]
    assert output.items == (OutputItem("message", "in_progress", (OutputPart("text", "Hel"),)),)
    assert output.add(TextDelta("lo")) == [Grew(0, 0, "text", "lo")]
    whole = OutputPart("text", "Hello")
    item = OutputItem("message", "completed", (whole,), phase="final_answer")
    assert output.add(Finished("stop")) == [PartClosed(0, 0, whole), Closed(0, item)]
    assert output.items == (item,)


def test_text_and_refusal_are_parts_of_one_message() -> None:
    [item] = items(TextDelta("a"), RefusalDelta("n"), RefusalDelta("o"), TextDelta("b"))
    assert [(part.kind, part.text) for part in item.parts] == [
        ("text", "a"),
        ("refusal", "no"),
        ("text", "b"),
    ]


def test_reasoning_ends_where_the_answer_begins() -> None:
    assert told(ReasoningDelta("h"), ReasoningDelta("m"), TextDelta("a"), Finished("stop")) == [
        ("reasoning completed", "hm"),
        ("message completed", "a"),
    ]


def test_calls_may_come_interleaved_and_are_open_until_the_end() -> None:
    output = Output()
    assert output.add(ToolCallStart(0, "a", "f")) == []
    assert output.add(ToolCallStart(1, "b", "g", "custom")) == []
    opened = output.add(ToolArgsDelta(1, "l"))
    assert opened == [
        Opened(0, OutputItem("function", call_id="a", name="f", number=0)),
        Opened(1, OutputItem("custom", call_id="b", name="g", number=1)),
        Grew(1, 0, "arguments", "l"),
    ]
    assert output.add(ToolArgsDelta(0, "{}")) == [Grew(0, 0, "arguments", "{}")]
    assert output.add(ToolArgsDelta(1, "s")) == [Grew(1, 0, "arguments", "s")]
    closed = [change for change in output.add(Finished("tool_calls")) if isinstance(change, Closed)]
    assert [(c.index, c.item.text, c.item.status) for c in closed] == [
        (0, "{}", "completed"),
        (1, "ls", "completed"),
    ]


def test_text_after_a_call_is_a_message_of_its_own() -> None:
    said = told(TextDelta("a"), ToolCallStart(0, "x", "f"), TextDelta("b"), Finished("stop"))
    assert said == [
        ("message completed", "a"),
        ("function completed", ""),
        ("message completed", "b"),
    ]


def test_arguments_of_a_call_that_never_began_are_an_error() -> None:
    with pytest.raises(ValueError, match="call 3"):
        items(ToolArgsDelta(3, "x"))
    with pytest.raises(ValueError, match="call 0"):
        items(ToolCallStart(0, "a", "f"), ToolArgsDelta(0, "x"), Attempt(2), ToolArgsDelta(0, "y"))


def test_a_new_attempt_goes_on_with_new_items() -> None:
    first = (TextDelta("Hel"), ToolCallStart(0, "a", "f"), ToolArgsDelta(0, "{"))
    assert told(*first, Attempt(2), TextDelta("Hello"), Finished("stop")) == [
        ("message completed", "Hel"),
        ("function incomplete", "{"),
        ("message completed", "Hello"),
    ]
    assert told(first[0], Attempt(2), Attempt(3), first[0], Finished("stop")) == [
        ("message incomplete", "Hel"),
        ("message completed", "Hel"),
    ]


def test_a_call_that_only_began_is_forgotten_by_a_new_attempt() -> None:
    start = ToolCallStart(0, "a", "f")
    for attempt in (Attempt(2), Attempt(2, drop_from=1)):
        assert items(start, attempt) == ()
        again = items(start, attempt, start, ToolArgsDelta(0, "x"), Finished("tool_calls"))
        assert [(item.call_id, item.text) for item in again] == [("a", "x")]


def test_no_two_calls_have_one_id() -> None:
    call = (ToolCallStart(0, "call_0", "f"), ToolArgsDelta(0, "{}"))
    ids = [item.call_id for item in items(*call, Attempt(2), *call, Attempt(3), *call)]
    assert ids == ["call_0", "call_0_2", "call_0_3"]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_only_what_was_being_said_is_incomplete_when_it_is_cut(reason: str) -> None:
    calls = [ToolCallStart(0, "a", "f"), ToolArgsDelta(0, "{}"), ToolCallStart(1, "b", "g")]
    cut = Finished("length") if reason == "length" else Finished("content_filter")
    assert told(TextDelta("x"), *calls, ToolArgsDelta(1, "{"), cut) == [
        ("message completed", "x"),
        ("function completed", "{}"),
        ("function incomplete", "{"),
    ]
    assert told(TextDelta("x"), cut) == [("message incomplete", "x")]


def test_a_failure_leaves_what_is_open_incomplete() -> None:
    said = told(ReasoningDelta("a"), TextDelta("x"), ToolCallStart(0, "a", "f"), Failed("e", ""))
    assert said == [("reasoning completed", "a"), ("message incomplete", "x")]


def test_logprobs_stay_with_their_part_and_an_empty_list_is_not_none() -> None:
    [item] = items(TextDelta("a", [ROW]), TextDelta("b"), RefusalDelta("n"), TextDelta("c", []))
    assert [part.logprobs for part in item.parts] == [(ROW,), None, ()]


def test_a_short_cut_makes_the_text_grow_and_nothing_else() -> None:
    output = Output()
    assert not output.in_text
    output.add(TextDelta("a"))
    assert output.in_text
    output.grow("b")
    assert output.items[0].text == "ab"
    output.add(ToolCallStart(0, "a", "f"))
    assert not output.in_text


def random_events(dice: random.Random) -> Iterator[RunEvent]:
    """A run with up to four attempts, as its log has it: what was not shown may be dropped."""
    seq, first = 2, None
    yield Created(1)
    for number in range(1, dice.randint(2, 5)):
        yield Attempt(number, first)
        seq, first, shown = seq + 1, None, False
        calls = 0
        for _ in range(dice.randint(0, 12)):
            event: RunEvent
            kind = dice.choice("tttrnccaaa")
            if kind == "c":
                event = ToolCallStart(
                    calls, f"call_{calls}", "f", dice.choice(["function", "custom"])
                )
                calls += 1
            elif kind == "a":
                if not calls:
                    continue
                event = ToolArgsDelta(dice.randrange(calls), "{}")
            else:
                text = {"t": TextDelta, "r": ReasoningDelta, "n": RefusalDelta}[kind]
                event = text(dice.choice("xyz"))
            shown = shown or kind != "c"
            first = first or seq
            seq += 1
            yield event
        first = None if shown else first
    yield dice.choice([Finished("stop"), Finished("length"), Failed("worker_lost", "gone")])


@pytest.mark.parametrize("seed", range(200))
def test_whatever_comes_the_changes_add_up_to_the_items_and_to_the_fold(seed: int) -> None:
    events = list(random_events(random.Random(seed)))
    output = Output()
    changes = [change for event in events for change in output.add(event)]
    assert added_up(changes) == output.items
    assert all(item.status != "in_progress" for item in output.items)
    fold, seq = Fold(), 1
    cut = random.Random(seed).randint(0, len(events))
    for batch in (events[:cut], events[cut:]):
        fold.add(seq, batch)
        seq += len(batch)
    assert fold.result().items == output.items


def added_up(changes: list[Change]) -> tuple[OutputItem, ...]:
    """What a client makes of the changes; fails on those that break the rules."""
    found: dict[int, OutputItem] = {}
    texts: dict[tuple[int, int], str] = {}
    closed: set[int] = set()
    for change in changes:
        assert change.index not in closed
        match change:
            case Opened(index, item):
                assert index == len(found) and item.status == "in_progress" and not item.parts
                found[index] = item
                if item.kind in ("function", "custom"):
                    texts[index, 0] = ""
            case PartOpened(index, part):
                assert (index, part) not in texts
                texts[index, part] = ""
            case Grew(index, part, _, text):
                texts[index, part] += text
            case PartClosed(index, part, whole):
                assert texts[index, part] == whole.text
            case Closed(index, item):
                assert item.text == "".join(t for (of, _), t in texts.items() if of == index)
                found[index] = item
                closed.add(index)
    assert closed == set(found)
    return tuple(found.values())
