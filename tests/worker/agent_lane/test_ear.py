"""Text that stays JSON on its way through an agent with tools."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.fakes.upstream_plan import plan
from tests.worker.agent_lane.agents import bench, planner
from tests.worker.backends.driving import no_gate, request, text_in
from trunkline_shared.events import Finished, RunEvent, TextDelta, ToolArgsDelta, ToolCallStart
from trunkline_shared.frame import Texts, singly
from trunkline_worker.agent_lane.chat_wire import response_parts
from trunkline_worker.agent_lane.ear import Ear
from trunkline_worker.backends.base import RunContext

BULK: Any = Texts(b'one ","t\\u0077o')
TEXTS = [TextDelta("one "), TextDelta("two")]
CALL = ToolCallStart(0, "c", "look", "function")


def ear(**how: Any) -> tuple[Ear, list[RunEvent]]:
    shown: list[RunEvent] = []
    held, answer = how.get("held", False), how.get("answer")
    return Ear(shown.extend, lambda _: False, held=held, keeps=held, answer=answer), shown


def test_text_in_bulk_is_passed_on_as_it_is() -> None:
    heard, shown = ear()
    heard([BULK])
    assert shown == [BULK]
    assert heard.showed_text


def test_beside_a_call_it_is_told_apart() -> None:
    heard, shown = ear()
    heard([BULK, CALL, ToolArgsDelta(0, "{}")])
    assert shown == TEXTS


def test_text_that_is_held_is_kept_in_single_events() -> None:
    heard, shown = ear(held=True)
    heard([BULK])
    assert (shown, heard.kept) == ([], TEXTS)


def test_text_beside_an_answer_in_a_tool_is_not_shown() -> None:
    heard, shown = ear(answer="answer")
    heard([BULK])
    assert shown == []


def test_the_agent_is_given_one_text_whatever_it_came_in() -> None:
    (part,) = response_parts([TextDelta("zero "), BULK, TextDelta("!")])
    assert part.content == "zero one two!"  # type: ignore[union-attr]  # it is a text


@pytest.mark.parametrize("bulk", [True, False])
async def test_what_was_said_before_a_call_is_sent_back_whole(
    upstream: FakeUpstream, tmp_path: Path, bulk: bool
) -> None:
    said = "I look at it now, and then once more. "
    prompt = plan({"say": said, "calls": [("look", {})]}, {"say": "Done, all of it."})
    batches: list[Sequence[RunEvent]] = []
    async with planner(upstream, tmp_path, bench()) as backend:
        last = await backend.run(request(prompt), RunContext(no_gate, batches.append, bulk=bulk))
    events = [one for batch in (*batches, last) for event in batch for one in singly(event)]
    assert text_in(events) == f"{said}Done, all of it."
    assert isinstance(events[-1], Finished)
    assert upstream.requests[1].body["messages"][1]["content"] == said
