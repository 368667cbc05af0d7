import asyncio
import threading
from typing import Any

import pytest

from tests.patience import until
from tests.worker.fake_run import FakePipe, ScriptedBackend, claimed, code_of, execution
from trunkline_shared import fold
from trunkline_shared.compaction_seal import Compaction, seal
from trunkline_shared.conversation import Turn, decode_turn, encode_turn
from trunkline_shared.events import (
    Attempt,
    Created,
    Failed,
    Finished,
    RunEvent,
    Step,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
    Usage,
)
from trunkline_shared.frame import encode_frame
from trunkline_shared.keys import Keys
from trunkline_shared.run import RunRequest, encode_job, new_run_id
from trunkline_shared.vault import Vault
from trunkline_worker.memory import LARGE

VAULT = Vault("secret")
END: list[RunEvent] = [TextDelta("Yo"), Finished("stop", Usage(2, 1, cost=0.5), "llm-1")]


def says(role: str, text: str) -> Any:
    return {"type": "message", "role": role, "content": [{"type": "text", "text": text}]}


def job(*transcript: Any, **more: Any) -> bytes:
    return encode_job(RunRequest(new_run_id(), "agent", transcript=[*transcript], **more))


def pipe_with(*turns: Turn, vault: Vault = VAULT) -> FakePipe:
    pipe = FakePipe()
    pipe.stored["LRANGE", Keys().turns("c")] = [vault.seal(encode_turn(turn)) for turn in turns]
    return pipe


async def test_a_plain_run_leaves_nothing_behind() -> None:
    run, writer = execution(claimed(job=job(says("user", "Hi"))), vault=VAULT)
    await run.run(ScriptedBackend(END))
    assert writer.kept is None


async def test_a_run_continues_its_conversation_and_adds_its_turn_sealed() -> None:
    before = Turn("r0", items=[says("user", "Hi")], said=[says("assistant", "Hello")])
    lost = Turn("r1", items=[says("user", "lost")], outcome="worker_lost")
    asked = job(*before.items, *before.said, says("user", "More"), conversation="c", model="m")
    run, writer = execution(claimed(job=asked), pipe_with(before, lost), VAULT)
    backend = ScriptedBackend(END)
    await run.run(backend)
    (request,) = backend.requests
    assert request.transcript == [*before.items, *before.said, says("user", "More")]
    assert writer.kept is not None
    result, sealed = writer.kept
    assert result == b"" and VAULT.is_token(sealed)
    turn = decode_turn(VAULT.open(sealed))
    answer = {**says("assistant", "Yo"), "phase": "final_answer"}
    assert (turn.items, turn.said) == ([says("user", "More")], [answer])
    assert (turn.model, turn.llm, turn.outcome) == ("m", "llm-1", "finished")
    assert turn.usage == Usage(2, 1, cost=0.5) and turn.latency_s >= 0


async def test_a_turn_that_failed_says_why_and_what_it_cost() -> None:
    run, writer = execution(
        claimed(job=job(says("user", "Hi"), conversation="c")), pipe_with(), VAULT
    )
    await run.run(ScriptedBackend([TextDelta("Y"), Failed("upstream_error", "x", usage=Usage(9))]))
    assert writer.kept is not None
    turn = decode_turn(VAULT.open(writer.kept[1]))
    assert (turn.outcome, turn.message, turn.usage) == ("upstream_error", "x", Usage(9))
    assert not turn.counts


async def test_a_run_that_is_stopped_keeps_what_was_said() -> None:
    run, writer = execution(claimed(job=job(store=True)), vault=VAULT)
    backend = ScriptedBackend([TextDelta("half")], asyncio.Event())
    task = asyncio.create_task(run.run(backend))
    await until(lambda: writer.events)
    run.stop(Failed("cancelled", "The run was cancelled."))
    await task
    assert writer.kept is not None
    folded = fold.decode(VAULT.unpack(writer.kept[0]))
    assert folded.text == "half" and isinstance(folded.terminal, Failed)


async def test_a_stored_run_keeps_its_result_sealed() -> None:
    run, writer = execution(claimed(job=job(says("user", "Hi"), store=True)), vault=VAULT)
    await run.run(ScriptedBackend(END))
    assert writer.kept is not None and writer.kept[1] == b""
    folded = fold.decode(VAULT.unpack(writer.kept[0]))
    assert (folded.text, folded.terminal) == ("Yo", END[-1])


async def test_what_was_said_with_an_entry_of_the_journal_is_kept_too() -> None:
    run, writer = execution(claimed(job=job(store=True)), vault=VAULT)
    await run.run(ScriptedBackend((b"entry", [TextDelta("I look. "), Step()]), END))
    assert writer.kept is not None and writer.recorded == [b"entry"]
    assert fold.decode(VAULT.unpack(writer.kept[0])).text == "I look. Yo"


@pytest.mark.parametrize(("drop_from", "text"), [(3, "Yo"), (None, "halfYo")])
async def test_a_later_attempt_counts_what_the_log_still_says(
    drop_from: int | None, text: str
) -> None:
    frames: list[tuple[int, list[RunEvent]]] = [
        (1, [Created(1)]),
        (2, [Attempt(1)]),
        (3, [TextDelta("half")]),
        (4, [Attempt(2, drop_from)]),
    ]
    pipe, asked = FakePipe(), claimed(attempt=2, last_seq=4, job=job(store=True))
    pipe.stored["XRANGE", Keys().log(asked.run_id)] = [
        (b"1-1", [b"f", encode_frame(first, events)]) for first, events in frames
    ]
    run, writer = execution(asked, pipe, VAULT)
    await run.run(ScriptedBackend(END))
    assert writer.kept is not None
    assert fold.decode(VAULT.unpack(writer.kept[0])).text == text


async def test_a_compaction_that_cannot_be_opened_fails_its_run_and_says_why() -> None:
    value = {"type": "compaction", "encrypted_content": seal(Vault("other"), Compaction([]), "")}
    item: Any = {"type": "opaque", "origin": "responses", "value": value}
    run, writer = execution(
        claimed(job=job(conversation="c")), pipe_with(Turn("r0", items=[item])), VAULT
    )
    await run.run(ScriptedBackend(END))
    assert code_of(writer) == "agent_unavailable"


async def test_a_conversation_sealed_with_another_key_fails_its_run_and_says_why() -> None:
    pipe = pipe_with(Turn("r0"), vault=Vault("other"))
    run, writer = execution(claimed(job=job(conversation="c")), pipe, VAULT)
    await run.run(ScriptedBackend(END))
    assert code_of(writer) == "agent_unavailable"
    failed = writer.events[-1]
    assert isinstance(failed, Failed) and "TRUNKLINE_SECRET_KEY" in failed.message


async def test_a_turn_that_leaves_calls_of_its_history_open_asks_no_model() -> None:
    call = {"type": "tool_call", "id": "c1", "name": "f", "arguments": "{}", "kind": "function"}
    before: Any = Turn("r0", items=[says("user", "Hi")], said=[call])
    asked = job(says("user", "More"), conversation="c")
    run, writer = execution(claimed(job=asked), pipe_with(before), VAULT)
    backend = ScriptedBackend(END)
    await run.run(backend)
    assert not backend.requests
    failed = writer.events[-1]
    assert isinstance(failed, Failed) and "the result of c1 of f" in failed.message
    assert (failed.code, failed.param) == ("invalid_request", "messages")


class WatchedVault(Vault):
    """Notes whether it opens things on the thread of the loop."""

    on_loop = True

    def open(self, sealed: bytes) -> bytes:
        self.on_loop = threading.current_thread() is threading.main_thread()
        return super().open(sealed)


@pytest.mark.parametrize(("length", "on_loop"), [(10, True), (LARGE, False)])
async def test_a_long_conversation_is_opened_beside_the_loop(length: int, on_loop: bool) -> None:
    vault = WatchedVault("secret")
    before = Turn("r0", items=[says("user", "x" * length)], said=[says("assistant", "Yo")])
    asked = job(says("user", "More"), conversation="c")
    run, _ = execution(claimed(job=asked), pipe_with(before, vault=vault), vault)
    backend = ScriptedBackend(END)
    await run.run(backend)
    assert len(backend.requests[0].transcript) == 3 and vault.on_loop is on_loop


async def test_instructions_stand_before_the_history_and_are_no_part_of_the_turn() -> None:
    before = Turn("r0", items=[says("user", "Hi")], said=[says("assistant", "Hello")])
    asked = job(says("user", "More"), conversation="c", instructions="Shout.")
    run, writer = execution(claimed(job=asked), pipe_with(before), VAULT)
    backend = ScriptedBackend(END)
    await run.run(backend)
    (request,) = backend.requests
    history = [*before.items, *before.said]
    assert request.transcript == [says("system", "Shout."), *history, says("user", "More")]
    assert writer.kept is not None
    assert decode_turn(VAULT.open(writer.kept[1])).items == [says("user", "More")]


async def test_a_turn_notes_the_places_of_its_items_and_what_it_has_seen() -> None:
    before = [
        Turn(f"r{n}", items=[says("user", "Hi")], said=[says("assistant", "Yo")]) for n in "ab"
    ]
    asked = job(
        says("system", "Be brief."), says("assistant", "Yo"), says("user", "More"), conversation="c"
    )
    run, writer = execution(claimed(job=asked), pipe_with(*before), VAULT)
    said: list[RunEvent] = [
        ToolCallStart(0, "c1", "f", "function"),
        ToolArgsDelta(0, "{}"),
        TextDelta("I call."),
        Finished("tool_calls"),
    ]
    await run.run(ScriptedBackend(said))
    assert writer.kept is not None
    turn = decode_turn(VAULT.open(writer.kept[1]))
    assert (turn.items_at, turn.seen) == ([0, 2], 2)
    assert [item["type"] for item in turn.said] == ["message", "tool_call"]
    assert turn.said_at == [1, 0]
