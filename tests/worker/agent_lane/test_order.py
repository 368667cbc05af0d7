"""In which order the calls of one answer are made."""

from pathlib import Path

from tests.fakes.upstream import FakeUpstream
from tests.fakes.upstream_plan import plan
from tests.worker.agent_lane.agents import planner
from tests.worker.backends.driving import events_of, request
from trunkline_shared.events import ActivityEnd, ActivityOutput
from trunkline_worker.toolsets.tasks import Tasks


async def test_who_reads_after_a_write_in_the_same_answer_reads_what_was_written(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    titles = [f"task {number}" for number in range(20)]
    calls = [
        call
        for title in titles
        for call in (
            ("write_tasks", {"tasks": [{"title": title, "status": "pending"}]}),
            ("read_tasks", {}),
        )
    ]
    async with planner(upstream, tmp_path, Tasks()) as backend:
        events = await events_of(backend, request(plan({"calls": calls}, {"say": "Done."})))
    said = {e.index: e.text for e in events if isinstance(e, ActivityOutput)}
    assert all(title in said[2 * number + 1] for number, title in enumerate(titles))
    ends = [event.index for event in events if isinstance(event, ActivityEnd)]
    assert ends == [*range(40)]
