"""Conversations and interrupted runs that go on in another worker, with the real command line."""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.fakes.anthropic import FakeAnthropic, words
from tests.worker.backends.driving import finished, request, said
from tests.worker.claude_code.bed import MemorySessions, Told, bash, calls, living, tell, worker
from trunkline_shared.events import ActivityEnd, Step
from trunkline_shared.run import RunRequest, encode_job

pytestmark = pytest.mark.claude
pytest.importorskip("claude_agent_sdk")


def asked_last(upstream: FakeAnthropic) -> list[tuple[str, str]]:
    """Roles and texts of the last request, without what the command line adds."""
    said_so: list[tuple[str, str]] = []
    for message in upstream.requests[-1].body["messages"]:
        parts = message["content"]
        for part in [] if isinstance(parts, str) else parts:
            text = part.get("text", "")
            if message["role"] != "system" and text and not text.startswith("<system-reminder>"):
                said_so.append((message["role"], text))
    return said_so


async def test_a_conversation_goes_on_in_another_worker(
    upstream: FakeAnthropic, root: Path
) -> None:
    sessions = MemorySessions()
    first, answer, second = said("first"), said(words(2), "assistant"), said("second")
    async with worker(upstream, "words-2", root / "1", sessions=sessions) as backend:
        await tell(backend, request(conversation="c", transcript=[first]))
    async with worker(upstream, "words-3", root / "2", sessions=sessions) as backend:
        told = await tell(backend, request(conversation="c", transcript=[first, answer, second]))
    assert told.text == words(3)
    assert asked_last(upstream) == [
        ("user", "first"),
        ("assistant", words(2)),
        ("user", "second"),
    ]
    (session,) = {taken.session for taken in sessions.kept["c"]}
    uuids = [e["uuid"] for taken in sessions.kept["c"] for e in taken.entries if "uuid" in e]
    assert session and len(uuids) == len(set(uuids))


async def test_a_history_that_is_not_its_own_is_folded_into_what_it_is_told(
    upstream: FakeAnthropic, root: Path
) -> None:
    sessions = MemorySessions()
    transcript = [said("a"), said("b", "assistant"), said("c")]
    async with worker(upstream, "words-2", root, sessions=sessions) as backend:
        await tell(backend, request(transcript=transcript))
        ((_, text),) = asked_last(upstream)
        assert text.index("[user]\na") < text.index("[assistant]\nb") < text.index("says:\nc")
        # What another agent said since is folded in after what it knows itself.
        await tell(backend, request(conversation="c", transcript=[said("a")]))
        known = [said("a"), said(words(2), "assistant")]
        foreign = [said("x"), said("y", "assistant")]
        await tell(backend, request(conversation="c", transcript=[*known, *foreign, said("z")]))
    (role, question), *_, (_, last) = asked_last(upstream)
    assert (role, question) == ("user", "a")
    assert "[assistant]\ny" in last and last.endswith("z") and "[user]\na" not in last


async def stopped(
    upstream: FakeAnthropic, root: Path, run: RunRequest, entry: bytes, nth: int = 1
) -> Told:
    """An attempt that ends without a word when its journal has the nth such entry."""
    told = Told()
    async with worker(upstream, "scripted", root) as backend:
        task = asyncio.create_task(tell(backend, run, told))
        async with asyncio.timeout(60):
            while sum(entry in each for each in told.journal) < nth:
                told.grown.clear()
                await told.grown.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return told


async def test_what_was_done_is_not_done_again(upstream: FakeAnthropic, root: Path) -> None:
    log = "log"
    run = calls(*(bash(f"echo {n} | tee -a {log}") for n in "abc"), conversation="c")
    told = await stopped(upstream, root, run, b'"ended"', nth=2)
    before = len(told.events)
    async with worker(upstream, "scripted", root) as backend:
        await tell(backend, run, told, attempt=2)
        look = await tell(backend, calls(bash(f"cat {log}"), conversation="c"))
    assert before and look.outputs == ["a\nb\nc"]
    told.check_activities()
    assert [end.error for end in told.of(ActivityEnd)] == [None, None, None]
    assert finished(told.events).usage.output_tokens > 6 and len(told.of(Step)) == 5


async def test_of_a_call_that_was_open_the_model_hears_that_nobody_knows(
    upstream: FakeAnthropic, root: Path
) -> None:
    run = calls(bash(ONCE), bash("ls"), conversation="c")
    told = await stopped(upstream, root, run, b'"begun":"')
    async with worker(upstream, "scripted", root) as backend:
        await tell(backend, run, told, attempt=2)
    told.check_activities()
    first, *_ = told.of(ActivityEnd)
    assert "nobody knows" in first.error
    heard = json.dumps(upstream.requests[-1].body["messages"])
    assert "outcome is unknown" in heard or "Nobody knows whether" in heard


async def test_an_attempt_that_recorded_nothing_begins_anew(
    upstream: FakeAnthropic, root: Path
) -> None:
    async with worker(upstream, "words-3", root) as backend:
        told = await tell(backend, request(), attempt=2)
        assert told.text == words(3)
        again = await tell(backend, request(), told, attempt=2)  # its end was recorded
    assert len(upstream.requests) == 1 and finished(again.events) == finished(told.events)


ONCE = "[ -e begun ] || { touch begun; timeout 3 tail -f /dev/null & timeout 3 tail -f /dev/null; }"
WORKER = """
import asyncio, sys
from pathlib import Path
from tests.worker.claude_code.bed import Told, tell, worker
from trunkline_shared.run import decode_job

class Upstream:
    base_url = sys.argv[1]

class Spoken(Told):
    async def record(self, entry, events):
        await super().record(entry, events)
        print(entry.hex(), flush=True)

async def main():
    run = decode_job("a00000000000" + "0" * 16, sys.stdin.buffer.read())
    where = Path(sys.argv[2])
    async with worker(Upstream(), "scripted", where, sandbox=sys.argv[3]) as backend:
        await tell(backend, run, Spoken())

asyncio.run(main())
"""


async def until_dead(root: Path, patience_s: float = 5) -> None:
    loop = asyncio.get_running_loop()
    late = loop.time() + patience_s
    while left := living(root):
        assert loop.time() < late, left
        await asyncio.to_thread(time.sleep, 0.02)


@pytest.mark.parametrize("sandbox", ["bwrap", "landlock"])
async def test_a_worker_that_is_killed_leaves_no_process_and_its_run_goes_on(
    upstream: FakeAnthropic, root: Path, sandbox: str
) -> None:
    run = calls(bash("echo a | tee -a log"), bash(ONCE), conversation="c")
    killed = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, upstream.base_url, str(root), sandbox),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    assert killed.stdin and killed.stdout
    killed.stdin.write(encode_job(run))
    killed.stdin.write_eof()
    told = Told()
    async with asyncio.timeout(60):
        while sum(b'"begun":"' in entry for entry in told.journal) < 2:
            told.journal.append(bytes.fromhex((await killed.stdout.readline()).decode()))
    assert living(root)
    killed.send_signal(signal.SIGKILL)
    await killed.communicate()
    await until_dead(root)
    async with worker(upstream, "scripted", root) as backend:
        await tell(backend, run, told, attempt=2)
        look = await tell(backend, calls(bash("cat log"), conversation="c"))
    assert look.outputs == ["a"] and told.text.startswith("The tool said: ")
    assert finished(told.events).reason == "stop"
    assert "nobody knows" in told.of(ActivityEnd)[0].error
