import asyncio
from typing import Any

import pytest
from arq.connections import ArqRedis

from tests.flow.stage import Stage, text_of
from tests.patience import until
from trunkline_shared.events import Finished
from trunkline_shared.frame import decode_frame
from trunkline_shared.run import new_run_id, serialize_job

pytestmark = pytest.mark.redis


async def outcome(stage: Stage, run_id: str) -> str:
    async with asyncio.timeout(20):
        while not (out := await stage.redis.hget(stage.keys.run(run_id), "out")):  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.01)
    return str(out.decode())


async def test_a_whole_reply_and_a_stream_say_the_same(redis_url: str) -> None:
    async with Stage(redis_url) as stage:
        whole = (await stage.chat("one two three")).json()
        assert whole["choices"][0]["message"]["content"] == "one two three"
        assert whole["usage"]["completion_tokens"] == 3
        async with stage.stream("one two three") as reply:
            lines = [line async for line in reply.aiter_lines()]
        assert text_of(lines) == "one two three"
        assert lines[-2] == "data: [DONE]"


async def test_many_at_once_each_get_their_own_words(redis_url: str) -> None:
    async with Stage(redis_url, workers=2, slots=40) as stage:
        replies = await asyncio.gather(*[stage.chat(f"words of {i}") for i in range(60)])
        texts = [reply.json()["choices"][0]["message"]["content"] for reply in replies]
        assert texts == [f"words of {i}" for i in range(60)]
        assert await stage.redis.zcard(stage.keys.queue("default")) == 0
        for worker, _, _ in stage.workers:
            assert await stage.redis.hlen(stage.keys.held(worker.worker_id)) == 0


async def test_more_than_the_slots_wait_their_turn_and_are_all_served(redis_url: str) -> None:
    async with Stage(redis_url, slots=2) as stage:
        replies = await asyncio.gather(*[stage.chat("hi there") for _ in range(15)])
        assert {reply.status_code for reply in replies} == {200}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_cuts_its_run_off(redis_url: str, stream: bool) -> None:
    async with Stage(redis_url) as stage:
        task: asyncio.Task[Any]
        if stream:

            async def read_one() -> None:
                async with stage.stream("x", agent="held") as reply:
                    async for _ in reply.aiter_lines():
                        return

            task = asyncio.create_task(read_one())
            await task
        else:
            task = asyncio.create_task(stage.chat("x", agent="held"))
            await until(lambda: stage.held.began)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await until(lambda: stage.held.cut)
        assert await outcome(stage, stage.held.began[0]) == "cancelled"


async def test_a_draining_api_lets_its_streams_end(redis_url: str) -> None:
    async with Stage(redis_url) as stage, stage.stream("x", agent="held") as reply:
        lines = reply.aiter_lines()
        seen = [await anext(lines)]
        stage.serving.stop.set()
        await until(stage.serving.app.gateway.shutdown.draining.is_set)
        stage.held.go.set()
        seen += [line async for line in lines]
        assert text_of(seen) == "first last"
        assert "data: [DONE]" in seen
        assert stage.held.cut == []


async def test_a_draining_worker_lets_its_runs_end(redis_url: str) -> None:
    async with Stage(redis_url) as stage, stage.stream("x", agent="held") as reply:
        lines = reply.aiter_lines()
        seen = [await anext(lines)]
        stopping = asyncio.create_task(stage.stop_worker(0))
        await asyncio.sleep(0)
        stage.held.go.set()
        seen += [line async for line in lines]
        assert text_of(seen) == "first last"
        await stopping
        worker = stage.workers[0][0]
        assert not await stage.redis.exists(stage.keys.lease(worker.worker_id))


async def test_what_a_drained_worker_could_not_end_goes_on_elsewhere_or_is_told(
    redis_url: str,
) -> None:
    async with Stage(redis_url, drain_s=0.1) as stage:
        whole = asyncio.create_task(stage.chat("x", agent="held"))
        await until(lambda: stage.held.began)
        async with stage.stream("x", agent="held") as reply:
            lines = reply.aiter_lines()
            seen = [await anext(lines)]
            await stage.start_worker()
            stage.workers[1][1].held.go.set()
            await stage.stop_worker(0)
            seen += [line async for line in lines]
        assert any("worker_draining" in line for line in seen)
        assert "data: [DONE]" not in seen
        answer = (await whole).json()
        assert answer["choices"][0]["message"]["content"] == "first last"
        assert len(stage.workers[1][1].held.began) == 1


async def test_with_200_running_the_next_one_starts_at_once(redis_url: str) -> None:
    # Stock arq reads 100 entries of a queue that its running jobs never leave.
    async with Stage(redis_url, slots=201) as stage:
        running = [asyncio.create_task(stage.chat("x", agent="held")) for _ in range(200)]
        await until(lambda: len(stage.held.began) == 200)
        reply = await stage.chat("me too")
        assert reply.json()["choices"][0]["message"]["content"] == "me too"
        assert len(stage.held.began) == 200 and not any(task.done() for task in running)
        stage.held.go.set()
        assert {(await task).status_code for task in running} == {200}


async def test_a_stock_arq_client_can_submit(redis_url: str) -> None:
    async with Stage(redis_url) as stage:
        run_id = new_run_id()
        message = {"type": "message", "role": "user", "content": [{"type": "text", "text": "hi"}]}
        arq = ArqRedis(connection_pool=stage.redis.connection_pool, job_serializer=serialize_job)
        await arq.enqueue_job(
            "run",
            request={"agent": "echo", "transcript": [message]},
            _job_id=run_id,
            _queue_name=stage.keys.queue("default"),
        )
        assert await outcome(stage, run_id) == "finished"
        _, fields = (await stage.redis.xrange(stage.keys.log(run_id)))[-1]
        assert isinstance(decode_frame(fields[b"f"])[1][-1], Finished)


async def test_an_idle_system_asks_redis_for_little(redis_url: str) -> None:
    async with Stage(redis_url) as stage:
        before = await calls(stage)
        await asyncio.sleep(3)
        after = await calls(stage)
        spent = {name: after[name] - before.get(name, 0) for name in after}
        # Two processes: sweeps 2 × 2/s, a renewal and a claim a second, memory, echoes, polling.
        assert sum(spent.values()) / 3 < 12, spent
        assert spent.get("blpop", 0) <= 2


async def calls(stage: Stage) -> dict[str, int]:
    """Commands that clients sent; what scripts call within Redis does not count."""
    stats = await stage.redis.info("commandstats")
    wanted = ("evalsha", "blpop", "publish", "ping", "info", "pubsub")  # never within a script
    return {
        name: stats[f"cmdstat_{name}"]["calls"] for name in wanted if f"cmdstat_{name}" in stats
    }


async def test_no_worker_is_told_at_once(redis_url: str) -> None:
    async with Stage(redis_url, workers=0) as stage:
        reply = await stage.chat("hi")
        assert reply.status_code == 503
        assert reply.json()["error"]["code"] == "agent_unavailable"
        assert "retry-after" in reply.headers


async def test_connections_that_break_are_not_seen_by_clients(redis_url: str) -> None:
    async with Stage(redis_url) as stage:
        words = " ".join(f"word{number}" for number in range(40))

        async def stream() -> list[str]:
            async with stage.stream(words) as reply:
                return [line async for line in reply.aiter_lines()]

        streams = [asyncio.create_task(stream()) for _ in range(5)]
        whole = asyncio.create_task(stage.chat(words))
        for _ in range(8):
            await asyncio.sleep(0.2)
            for kind in ("normal", "pubsub"):
                await stage.redis.client_kill_filter(_type=kind, skipme=True)
        for task in streams:
            lines = await task
            assert text_of(lines) == words
            assert "data: [DONE]" in lines
        assert (await whole).json()["choices"][0]["message"]["content"] == words
