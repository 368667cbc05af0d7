"""What `Runs.submit` makes of a run with an Idempotency-Key."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import OutOfMemoryError

from tests.api.test_runs import AGENT, Bench
from trunkline_api.errors import ApiError
from trunkline_api.idempotency import IdempotencyKey, Known
from trunkline_api.submission import Admission
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.run import RunRequest, new_run_id


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench(idempotency_retention_s=9.0)
    yield bench
    await bench.runs.aclose()


async def submit(bench: Bench) -> Known | None:
    request = RunRequest(new_run_id(), "echo", principal="p")
    return await bench.runs.submit(request, Admission(AGENT, key=IdempotencyKey("p:k", "d")))


async def test_it_is_admitted_with_its_key(bench: Bench) -> None:
    assert await submit(bench) is None
    (call,) = bench.pipe.named("submit")
    assert call[-6:] == ("idem", "p:k", "idem_body", "d", "idem_ms", 9_000)


async def test_another_that_the_key_stands_for_is_answered(bench: Bench) -> None:
    bench.pipe.answers["submit"] = [[b"same", b"r d c"]]
    assert await submit(bench) == Known("r", "c")


async def test_a_key_of_another_request_is_refused(bench: Bench) -> None:
    bench.pipe.answers["submit"] = [[b"reused", b"0"]]
    with pytest.raises(ApiError) as caught:
        await submit(bench)
    assert (caught.value.status, caught.value.param) == (422, "Idempotency-Key")


@pytest.mark.parametrize("is_away", [True, False])
async def test_it_is_not_cancelled_when_redis_does_not_answer_for_who_asks_again_is_told_of_it(
    bench: Bench, is_away: bool
) -> None:
    bench.pipe.answers["submit"] = [OutOfMemoryError("OOM")]
    if is_away:
        bench.pipe.is_open.clear()
    with pytest.raises(RedisUnavailable):
        await submit(bench)
    bench.pipe.is_open.set()
    await asyncio.sleep(0)
    assert not bench.runs._tasks and bench.pipe.named("cancel") == []
