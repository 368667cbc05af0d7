"""Runs as the API tier sees them: submitted, cancelled, and whether anybody could take them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import orjson
from redis.exceptions import RedisError, ResponseError

from trunkline_api.idempotency import Known, key_reused, known_as
from trunkline_api.settings import ApiSettings
from trunkline_api.submission import Admission, submission
from trunkline_api.submits import Submits
from trunkline_api.time_limit import TimeLimit
from trunkline_shared.config.models import Config
from trunkline_shared.errors import RedisUnavailable, Refused
from trunkline_shared.events import Failed, encode
from trunkline_shared.keys import Keys
from trunkline_shared.owned import end_owned, start_owned
from trunkline_shared.pipe import Pipe
from trunkline_shared.run import RunRequest
from trunkline_shared.scripts import SEEN_MS, Argument, ScriptName
from trunkline_shared.sweep import sweep_forever

logger = logging.getLogger("trunkline.runs")

MAX_ASKING = 10_000
HEALTH_TIMEOUT_S = 2.0  # probes have little patience
UNANSWERED_S = 5.0  # an owner that does not end a cancelled run by then loses it
MEMORY_EVERY_S = 1.0
MEMORY_SHARE = 0.85
LEAST_WAIT_S = 1.0

_WORDS = {
    "concurrency_limit": "This API key has as many runs at once as it may; try again later.",
    "queue_full": "The queue of this agent is full; try again later.",
    "conversation_full": "Too many runs wait in this conversation; try again later.",
    "conversation_not_found": "There is no such conversation.",
    "agent_unavailable": "No live worker can run this agent now.",
    "redis_unavailable": "The queue is out of room; try again later.",
}


class Runs:
    """Every call of the API tier that changes a run. `pipe` is shared with the relays."""

    def __init__(self, settings: ApiSettings, config: Config, keys: Keys, pipe: Pipe) -> None:
        self._settings = settings
        self._config = config
        self._keys = keys
        self._pipe = pipe
        self._submits = Submits(settings, pipe)
        self._limit = TimeLimit(settings.submit_retry_s)
        self._full = False
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[None]] = set()  # cancels that Redis has not heard of yet

    async def start(self) -> None:
        self._own(sweep_forever(self._pipe), "sweep")
        self._own(self._watch_memory(), "memory")

    async def aclose(self) -> None:
        try:
            if self._asking:
                await asyncio.wait(self._asking, timeout=self._settings.submit_retry_s)
        finally:  # also where nobody has that patience, and requests are still being cut off
            self._closed = True
            await end_owned(*self._tasks)

    async def submit(self, request: RunRequest, admission: Admission) -> Known | None:
        """Admits the run and puts it on its queue, in one round trip.

        Answers the run that its key stands for, if that is another. Raises Refused, and ApiError
        for a key of another request. Retries for `submit_retry_s` while Redis is away, then raises
        RedisUnavailable and sees to it that a run without a key never happens.
        """
        if self._full:
            raise self._refused("redis_unavailable", 0)
        asked = submission(self._settings, request, admission)
        try:
            with self._limit:
                code, more = await self._until_answered(lambda: self._submits.ask(asked))
        except TimeoutError:
            self._give_up(request, admission)
            raise RedisUnavailable("the queue did not answer in time") from None
        except ResponseError as error:
            logger.error("redis refused a submit: %s", error)
            self._give_up(request, admission)
            raise RedisUnavailable("the queue refused the run") from error
        if code == b"ok":
            return None
        if code == b"same":
            return known_as(more)
        raise key_reused() if code == b"reused" else self._refused(code.decode(), int(more))

    def cancel_soon(self, run_id: str, *, if_unread: bool = False) -> None:
        """Cancels a run whose client is gone, in a task of this object; with `if_unread` not one
        that others read.

        With too many of them waiting for Redis it is left to time-outs to end the run.
        """
        if self._closed:
            return  # nobody would hear of it: its reply channel is dead, which its worker sees
        if len(self._asking) >= MAX_ASKING:
            logger.warning("run %s is not cancelled: too many wait for that", run_id)
            return
        task = self._own(self._cancel(run_id, if_unread), f"cancel:{run_id}")
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def cancel(self, run_id: str, words: str) -> None:
        """Cancels a run; one that has ended stays as it is.

        Raises RedisUnavailable after `submit_retry_s` without an answer.
        """
        if await self._in_time("cancel", run_id, words) == b"told":
            self._own(self._insist(run_id), f"insist:{run_id}")

    async def note_reader(self, run_id: str) -> int:
        """Notes that somebody reads the run who did not ask for it; how often it was begun so far.

        Raises RedisUnavailable after `submit_retry_s` without an answer.
        """
        _, attempts = await self._in_time("submit", "read", run_id)
        return int(attempts)

    async def cancel_conversation(
        self, conversation: str, principal: str, *, delete: bool = False
    ) -> bool:
        """Cancels the run in progress and all that wait; `delete` forgets the conversation too.

        False when the principal has no such conversation. Raises RedisUnavailable after
        `submit_retry_s` without an answer.
        """
        what, words = "conversation", "The conversation was interrupted."
        if delete:
            what, words = "delete", "The conversation was deleted."
        answer = await self._in_time("cancel", conversation, words, what, principal)
        if answer == b"gone":
            return False
        for run_id in answer[1:]:
            self._own(self._insist(run_id.decode()), f"insist:{run_id.decode()}")
        return True

    async def put_turn(
        self, conversation: str, principal: str, run_id: str, turn: bytes, was: bytes = b""
    ) -> str:
        """Adds a turn that no run took, or puts it in the place of what it `was`.

        'ok', 'gone' where the principal has no such conversation, 'changed' where the turn is not
        what it was. Raises RedisUnavailable after `submit_retry_s` without an answer, and Refused
        for a new turn while Redis is full.
        """
        if self._full and not was:
            raise self._refused("redis_unavailable", 0)
        answer = await self._in_time("submit", "turn", run_id, conversation, principal, turn, was)
        return str(answer.decode())

    async def redis_alive(self) -> bool:
        if not self._pipe.is_connected:
            return False
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                await self._pipe.send("PING")
        except (TimeoutError, RedisUnavailable, RedisError):
            return False
        return True

    async def has_worker(self) -> bool:
        """Whether any pool of the configuration has a worker that renewed within 10 s."""
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                seconds, micros = await self._pipe.send("TIME")
                since = int(seconds) * 1000 + int(micros) // 1000 - SEEN_MS
                counts = [
                    self._pipe.send("ZCOUNT", self._keys.workers(pool), since, "+inf")
                    for pool in self._config.pools
                ]
                return any(await asyncio.gather(*counts))
        except (TimeoutError, RedisUnavailable, RedisError):
            return False

    async def _in_time(self, script: ScriptName, *arguments: str | bytes) -> Any:
        try:
            with self._limit:
                return await self._call(script, *arguments)
        except (TimeoutError, RedisError) as error:
            raise RedisUnavailable(f"the queue did not take the {script}") from error

    async def _call(self, script: ScriptName, *arguments: Argument) -> Any:
        return await self._until_answered(lambda: self._pipe.call(script, *arguments))

    async def _until_answered(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        while True:
            if not self._pipe.is_connected:
                await self._pipe.connected()
            try:
                return await ask()
            except RedisUnavailable:
                await asyncio.sleep(0)  # the pipe notes its loss before we ask again

    def _give_up(self, request: RunRequest, admission: Admission) -> None:
        # Who has a key asks again, and is then told of this run if it was admitted.
        if admission.key is None:
            self.cancel_soon(request.run_id)

    async def _cancel(self, run_id: str, if_unread: bool) -> None:
        arguments = (run_id, "The client went away.", *(("unread",) if if_unread else ()))
        try:
            answer = await self._call("cancel", *arguments)
            if answer == b"told":
                self._own(self._insist(run_id), f"insist:{run_id}")
        except RedisError as error:
            logger.warning("run %s was not cancelled: %s", run_id, error)

    async def _insist(self, run_id: str) -> None:
        await asyncio.sleep(UNANSWERED_S)
        event = orjson.dumps(encode(Failed("cancelled", "The run was cancelled.")))
        try:
            await self._call("finish", run_id, "", event, "cancelled")
        except RedisError as error:
            logger.warning("run %s was not ended: %s", run_id, error)

    async def _watch_memory(self) -> None:
        while True:
            try:
                info = await self._pipe.send("INFO", "memory")
                self._full = _share(info) >= MEMORY_SHARE
            except (RedisUnavailable, RedisError) as error:
                logger.debug("memory is unknown: %s", error)
            await asyncio.sleep(MEMORY_EVERY_S)

    def _refused(self, code: Any, wait_ms: int) -> Refused:
        return Refused(code, _WORDS[code], max(LEAST_WAIT_S, wait_ms / 1000))

    def _own(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = start_owned(work, name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _share(info: bytes) -> float:
    """Used memory as a share of `maxmemory`, from the text of INFO; 0 without a maximum."""
    rows = dict(line.split(b":", 1) for line in info.splitlines() if b":" in line)
    maximum = int(rows.get(b"maxmemory", 0))
    return int(rows.get(b"used_memory", 0)) / maximum if maximum else 0.0
