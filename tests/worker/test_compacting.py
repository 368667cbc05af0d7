import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.worker.backends.driving import no_gate, request, said
from trunkline_shared.compaction_seal import unseal
from trunkline_shared.events import Attempt as Attempted
from trunkline_shared.events import (
    Compacted,
    Failed,
    Finished,
    RunEvent,
    Step,
    TextDelta,
    Usage,
)
from trunkline_shared.fold import Fold
from trunkline_shared.run import RunRequest
from trunkline_shared.transcript import text_of
from trunkline_shared.vault import Vault
from trunkline_worker.backends.base import RunContext
from trunkline_worker.compacting import Compacting

VAULT = Vault("secret")
TALK = [said("Where?"), said("There.", "assistant"), said("And now?")]


@dataclass
class Model:
    """Counts `tokens`, sums up as `summary`, and answers `yes`. Notes what it was asked. Of the
    purpose `cut_in` it is stopped, as it would be from outside."""

    tokens: RunEvent = field(default_factory=lambda: Finished("stop", Usage(5000)))
    summary: Sequence[RunEvent] = (TextDelta("so far"), Finished("stop", Usage(10, 2, cost=1.0)))
    asked: list[RunRequest] = field(default_factory=list)
    journals: list[Sequence[bytes]] = field(default_factory=list)
    cut_in: str | None = None

    async def open(self) -> None:
        """Nothing is needed."""

    async def run(self, request: RunRequest, context: RunContext) -> Sequence[RunEvent]:
        self.asked.append(request)
        self.journals.append(context.journal)
        if request.purpose == self.cut_in:
            context.used(Usage(7))
            raise asyncio.CancelledError
        if request.purpose == "count":
            return [self.tokens]
        if request.purpose == "summary":
            context.emit(self.summary[:-1])
            return self.summary[-1:]
        context.emit([TextDelta("yes")])
        return [Finished("stop", Usage(3, 1, cost=0.5))]

    async def aclose(self) -> None:
        """Nothing is held."""

    @property
    def purposes(self) -> list[str]:
        return [run.purpose for run in self.asked]


@dataclass
class Attempt:
    """What one attempt said and recorded; it finds what earlier ones recorded."""

    model: Model
    journal: Sequence[bytes] = ()
    events: list[RunEvent] = field(default_factory=list)
    recorded: list[bytes] = field(default_factory=list)
    used: list[Usage] = field(default_factory=list)

    async def run(self, **fields: Any) -> list[RunEvent]:
        async def record(entry: bytes, events: Sequence[RunEvent]) -> None:
            self.recorded.append(entry)
            self.events += events

        given = {"transcript": TALK, "principal": "ana", "compact_above": 1000, **fields}
        context = RunContext(
            no_gate,
            self.events.extend,
            journal=self.journal,
            recorder=record,
            used=self.used.append,
        )
        self.events += await Compacting(self.model, VAULT).run(request(**given), context)
        return self.events


def texts(run: RunRequest) -> list[str]:
    return [text_of(item["content"]) for item in run.transcript if item["type"] == "message"]


async def test_it_counts_sums_up_and_answers() -> None:
    attempt = Attempt(Model())
    compacted, step, *events = await attempt.run(tools=[{"type": "function", "name": "look"}])
    assert attempt.model.purposes == ["count", "summary", ""]
    counted, summed, answered = attempt.model.asked
    assert texts(counted) == ["Where?", "There.", "And now?"]
    assert (counted.tools, summed.tools) == (answered.tools, [])
    assert "[user]\nWhere?\n\n[assistant]\nThere.\n\n---" in texts(summed)[1]
    first, summary, last = texts(answered)
    assert (first, last) == ("Where?", "And now?") and "so far" in summary
    assert isinstance(compacted, Compacted) and step == Step()
    assert [*unseal(VAULT, compacted.content, "ana").items] == answered.transcript
    assert events == [TextDelta("yes"), Finished("stop", Usage(13, 3, cost=1.5))]


async def test_a_long_one_is_said_in_pieces_that_fit_a_frame() -> None:
    attempt = Attempt(Model())
    long = said("x" * 50_000, "system")
    *pieces, last, step, _, _ = await attempt.run(transcript=[long, *TALK])
    assert isinstance(last, Compacted) and pieces and not last.more and step == Step()
    assert all(isinstance(piece, Compacted) and piece.more for piece in pieces)
    fold = Fold()
    fold.add(1, [*pieces, Attempted(2), *pieces, last])  # the first attempt did not get to the end
    [item] = fold.result().items
    assert unseal(VAULT, item.text, "ana").items[0] == long


async def test_a_later_attempt_goes_on_with_the_same_summary() -> None:
    first = Attempt(Model())
    await first.run()
    later = Attempt(Model(), [*first.recorded, b"the backend's"])
    events = await later.run()
    assert later.model.purposes == [""] and later.model.journals == [[b"the backend's"]]
    assert later.model.asked[0].transcript == first.model.asked[-1].transcript
    assert events == [TextDelta("yes"), Finished("stop", Usage(13, 3, cost=1.5))]
    assert not later.recorded


async def test_an_attempt_of_a_run_that_was_short_does_not_count_again() -> None:
    later = Attempt(Model(), [b"the backend's"])
    await later.run()
    assert (later.model.purposes, later.model.journals) == ([""], [[b"the backend's"]])


@pytest.mark.parametrize("tokens", [0, 1000])
async def test_what_is_short_is_answered_as_it_is(tokens: int) -> None:
    attempt = Attempt(Model(Finished("stop", Usage(tokens))))
    events = await attempt.run()
    assert attempt.model.purposes == ["count", ""]
    assert attempt.model.asked[-1].transcript == TALK and not attempt.recorded
    assert events == [TextDelta("yes"), Finished("stop", Usage(3, 1, cost=0.5))]


async def test_a_question_alone_is_not_even_counted() -> None:
    attempt = Attempt(Model())
    await attempt.run(transcript=[said("x" * 9000)])
    assert attempt.model.purposes == [""]


async def test_instructions_for_this_run_stay_first_and_are_not_sealed() -> None:
    attempt = Attempt(Model())
    told = said("Be brief.", "system")
    compacted, *_ = await attempt.run(transcript=[told, *TALK], instructions="Be brief.")
    assert attempt.model.asked[-1].transcript[0] == told
    assert isinstance(compacted, Compacted)
    assert told not in unseal(VAULT, compacted.content, "ana").items
    assert "Be brief." not in texts(attempt.model.asked[1])[1]


FAILED = Failed("upstream_rejected_us", "No.")


@pytest.mark.parametrize(
    ("model", "code"),
    [
        (Model(tokens=FAILED), "upstream_rejected_us"),
        (Model(summary=[FAILED]), "upstream_rejected_us"),
        (Model(summary=[TextDelta("half"), Finished("length")]), "upstream_error"),
    ],
)
async def test_without_a_count_or_a_summary_the_run_fails(model: Model, code: str) -> None:
    [failed] = await Attempt(model).run()
    assert isinstance(failed, Failed) and failed.code == code
    assert "" not in model.purposes


async def test_an_unknown_price_makes_the_sum_unknown() -> None:
    unpriced = Model(summary=[TextDelta("s"), Finished("stop", Usage(1, 1))])
    *_, end = await Attempt(unpriced).run()
    assert isinstance(end, Finished) and end.usage == Usage(4, 2)


@pytest.mark.parametrize(
    ("purpose", "used"), [("summary", [Usage(7)]), ("", [Usage(7), Usage(10, 2, cost=1.0)])]
)
async def test_a_run_that_is_stopped_tells_what_it_used(purpose: str, used: list[Usage]) -> None:
    attempt = Attempt(Model(cut_in=purpose))
    with pytest.raises(asyncio.CancelledError):
        await attempt.run()
    assert attempt.used == used


async def test_a_run_that_is_to_compact_ends_with_the_summary() -> None:
    attempt = Attempt(Model())
    compacted, _, end = await attempt.run(purpose="compact", compact_above=None)
    assert attempt.model.purposes == ["summary"] and isinstance(compacted, Compacted)
    assert end == Finished("stop", Usage(10, 2, cost=1.0))
    later = Attempt(Model(), attempt.recorded)
    assert await later.run(purpose="compact", compact_above=None) == [end]
    assert later.model.purposes == []
