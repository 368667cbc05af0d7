import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.exceptions import OutOfMemoryError

from tests.api.fake_gateway import CONFIG
from tests.patience import until
from trunkline_api import runs as runs_module
from trunkline_api.runs import Runs
from trunkline_api.settings import ApiSettings
from trunkline_api.submission import Admission
from trunkline_shared.errors import RedisUnavailable, Refused
from trunkline_shared.keys import Keys
from trunkline_shared.run import RunRequest, decode_job, new_run_id

AGENT = CONFIG.agents["echo"]


class FakePipe:
    """Answers each script from its list (the last answer stays); remembers every call."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {"sweep": [[0, 0, 0]], **answers}
        self.calls: list[tuple[Any, ...]] = []
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.info: Any = b"used_memory:1\r\nmaxmemory:0\r\n"

    @property
    def is_connected(self) -> bool:
        return self.is_open.is_set()

    async def connected(self) -> None:
        await self.is_open.wait()

    async def call(self, script: str, *arguments: Any) -> Any:
        self.calls.append((script, *arguments))
        answers = self.answers[script]
        return told(answers.pop(0) if len(answers) > 1 else answers[0])

    def call_then(self, then: Callable[[Any], None], script: str, *arguments: Any) -> None:
        """Answers a call of many with as many answers; an error is one for all."""
        self.calls.append((script, *arguments))
        answers = self.answers[script]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        runs, at = 0, 3
        while at < len(arguments):
            runs, at = runs + 1, at + 1 + arguments[at]
        told = answer if isinstance(answer, Exception) else [answer] * runs
        asyncio.get_running_loop().call_soon(then, told)

    def flush(self) -> None:
        pass

    async def send(self, *command: Any) -> Any:
        match command[0]:
            case "INFO":
                return told(self.info)
            case "TIME":
                return [b"1000", b"500000"]
        return told(self.answers[command[0]][0])

    def named(self, script: str) -> list[tuple[Any, ...]]:
        return [call for call in self.calls if call[0] == script]


def told(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


class Bench:
    def __init__(self, **settings: Any) -> None:
        self.pipe = FakePipe(submit=[[b"ok", b"0"]], cancel=[b"cancelled"], finish=[b"ok"])
        options = {"submit_retry_s": 0.2, "redis_timeout_s": 0.2} | settings
        self.runs = Runs(ApiSettings(**options), CONFIG, Keys(), self.pipe)  # type: ignore[arg-type]

    async def submit(self) -> str:
        run_id = new_run_id()
        request = RunRequest(run_id, "echo", reply="back", principal="p", stream=True)
        await self.runs.submit(request, Admission(AGENT))
        return run_id


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench(max_concurrent=7, max_queue=8, queue_timeout_s=9.0)
    yield bench
    await bench.runs.aclose()


async def test_a_submit_is_one_call_that_says_everything(bench: Bench) -> None:
    run_id = await bench.submit()
    (call,) = bench.pipe.calls
    *words, job = call
    assert words == [
        *("submit", "runs", 9_000, 8, 7),
        *(run_id, "echo default p", "back", "600000 1 fail 1", 7, 609_000),
    ]
    assert decode_job(run_id, job).principal == "p"


async def test_a_reader_is_noted_and_told_how_often_the_run_was_begun(bench: Bench) -> None:
    bench.pipe.answers["submit"] = [[b"ok", 2]]
    assert await bench.runs.note_reader("r") == 2
    assert bench.pipe.named("submit") == [("submit", "read", "r")]


async def test_a_run_that_is_cancelled_by_name_is_ended_if_its_owner_does_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs_module, "UNANSWERED_S", 0.01)
    await bench.runs.cancel("done", "No more.")
    bench.pipe.answers["cancel"] = [b"told"]
    await bench.runs.cancel("r", "No more.")
    await until(lambda: bench.pipe.named("finish"))
    assert bench.pipe.named("cancel") == [("cancel", n, "No more.") for n in ("done", "r")]
    assert [call[1] for call in bench.pipe.named("finish")] == ["r"]


async def test_a_cancel_that_redis_does_not_take_is_told(bench: Bench) -> None:
    bench.pipe.answers["cancel"] = [RedisUnavailable("broke")]
    with pytest.raises(RedisUnavailable):
        await bench.runs.cancel("r", "No more.")


@pytest.mark.parametrize("code", ["concurrency_limit", "queue_full", "agent_unavailable"])
async def test_a_refusal_carries_its_code_and_the_measured_wait(bench: Bench, code: str) -> None:
    bench.pipe.answers["submit"] = [[code.encode(), b"2500"]]
    with pytest.raises(Refused) as caught:
        await bench.submit()
    assert (caught.value.code, caught.value.retry_after_s) == (code, 2.5)
    assert bench.pipe.named("cancel") == []


async def test_a_submit_whose_answer_was_lost_is_sent_again_under_the_same_id(
    bench: Bench,
) -> None:
    bench.pipe.answers["submit"] = [RedisUnavailable("broke"), [b"ok", b"0"]]
    run_id = await bench.submit()
    assert [call[5] for call in bench.pipe.named("submit")] == [run_id, run_id]
    assert bench.pipe.named("cancel") == []


async def test_a_submit_that_redis_does_not_answer_is_given_up_and_its_id_cancelled(
    bench: Bench,
) -> None:
    bench.pipe.is_open.clear()
    with pytest.raises(RedisUnavailable):
        await bench.submit()
    assert bench.pipe.calls == []
    bench.pipe.is_open.set()
    await until(lambda: bench.pipe.named("cancel"))


async def test_a_submit_that_redis_refuses_for_want_of_memory_is_as_if_it_was_away(
    bench: Bench,
) -> None:
    bench.pipe.answers["submit"] = [OutOfMemoryError("OOM")]
    with pytest.raises(RedisUnavailable):
        await bench.submit()
    await until(lambda: bench.pipe.named("cancel"))


@pytest.mark.parametrize(("used", "is_full"), [(84, False), (85, True)])
async def test_from_85_percent_of_the_memory_on_nothing_is_submitted(
    bench: Bench, used: int, is_full: bool
) -> None:
    bench.pipe.info = b"# Memory\r\nused_memory:%d\r\nmaxmemory:100\r\n" % used
    await bench.runs.start()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if is_full:
        with pytest.raises(Refused) as caught:
            await bench.submit()
        assert caught.value.code == "redis_unavailable"
        assert caught.value.retry_after_s > 0
        with pytest.raises(Refused):
            await bench.runs.put_turn("conversation", "key-1", "run", b"turn")
        assert bench.pipe.named("submit") == []
    else:
        await bench.submit()


async def test_a_cancelled_run_that_its_owner_does_not_end_is_ended_here(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runs_module.UNANSWERED_S == 5.0
    monkeypatch.setattr(runs_module, "UNANSWERED_S", 0.01)
    bench.pipe.answers["cancel"] = [b"told"]
    bench.runs.cancel_soon("r")
    await until(lambda: bench.pipe.named("finish"))
    ((_, run_id, stream_id, event, outcome),) = bench.pipe.named("finish")
    assert (run_id, stream_id, outcome) == ("r", "", "cancelled")
    assert event.startswith(b'["failed","cancelled",')


@pytest.mark.parametrize("answer", [b"gone", b"done", b"cancelled"])
async def test_a_cancel_that_did_it_all_needs_no_more(bench: Bench, answer: bytes) -> None:
    bench.pipe.answers["cancel"] = [answer]
    bench.runs.cancel_soon("r")
    await until(lambda: not bench.runs._tasks)
    assert [call[0] for call in bench.pipe.calls] == ["cancel"]


@pytest.mark.parametrize(("if_unread", "more"), [(False, ()), (True, ("unread",))])
async def test_a_cancel_says_whether_others_may_read_on(
    bench: Bench, if_unread: bool, more: tuple[str, ...]
) -> None:
    bench.pipe.answers["cancel"] = [b"read"]
    bench.runs.cancel_soon("r", if_unread=if_unread)
    await until(lambda: not bench.runs._tasks)
    assert bench.pipe.calls == [("cancel", "r", "The client went away.", *more)]


async def test_a_cancel_survives_a_redis_that_is_away(bench: Bench) -> None:
    bench.pipe.answers["cancel"] = [RedisUnavailable("broke"), b"cancelled"]
    bench.runs.cancel_soon("r")
    await until(lambda: not bench.runs._tasks)
    assert len(bench.pipe.named("cancel")) == 2


async def test_cancels_are_sent_before_a_process_ends(bench: Bench) -> None:
    for number in range(20):
        bench.runs.cancel_soon(str(number))
    await bench.runs.aclose()
    assert len(bench.pipe.named("cancel")) == 20


async def test_closing_waits_no_longer_than_for_a_submit(bench: Bench) -> None:
    bench.pipe.is_open.clear()
    bench.runs.cancel_soon("r")
    async with asyncio.timeout(20):
        await bench.runs.aclose()
    assert not bench.runs._tasks


async def test_after_its_end_it_begins_nothing_more(bench: Bench) -> None:
    await bench.runs.aclose()
    bench.runs.cancel_soon("r")
    assert not bench.runs._tasks


async def test_health_answers_in_time_and_never_raises(bench: Bench) -> None:
    bench.pipe.answers |= {"PING": [b"PONG"], "ZCOUNT": [1]}
    assert await bench.runs.redis_alive() and await bench.runs.has_worker()
    bench.pipe.answers["ZCOUNT"] = [0]
    assert not await bench.runs.has_worker()
    for trouble in (RedisUnavailable("x"), OutOfMemoryError("x")):
        bench.pipe.answers |= {"PING": [trouble], "ZCOUNT": [trouble]}
        assert not await bench.runs.redis_alive() and not await bench.runs.has_worker()


async def test_health_does_not_wait_for_a_connection_that_is_not_there(bench: Bench) -> None:
    bench.pipe.answers |= {"PING": [b"PONG"]}
    bench.pipe.is_open.clear()
    assert not await bench.runs.redis_alive()


async def test_a_conversation_is_cancelled_whole_and_its_owners_are_pressed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    bench.pipe.answers["cancel"] = [[b"ok", b"run-1", b"run-2"], [b"ok"], b"gone"]
    monkeypatch.setattr(runs_module, "UNANSWERED_S", 0.01)
    assert await bench.runs.cancel_conversation("id", "p")
    assert await bench.runs.cancel_conversation("id", "p", delete=True)
    assert not await bench.runs.cancel_conversation("id", "p")
    await until(lambda: len(bench.pipe.named("finish")) == 2)
    assert [call[3:] for call in bench.pipe.named("cancel")][:2] == [
        ("conversation", "p"),
        ("delete", "p"),
    ]
    assert {call[1] for call in bench.pipe.named("finish")} == {"run-1", "run-2"}
    await bench.runs.aclose()


async def test_a_conversation_that_redis_does_not_cancel_is_an_error_in_time(bench: Bench) -> None:
    bench.pipe.is_open.clear()
    with pytest.raises(RedisUnavailable):
        await bench.runs.cancel_conversation("id", "p")
