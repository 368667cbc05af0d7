"""What the contract tests of the scripts speak through: calls by name, and looks at the keys."""

import time
from dataclasses import dataclass, field
from typing import Any

import orjson
from redis.exceptions import RedisError

from trunkline_shared.events import RunEvent
from trunkline_shared.frame import decode_frame, encode_frame
from trunkline_shared.keys import Keys
from trunkline_shared.run import RunRequest, encode_job, new_run_id
from trunkline_shared.scripts import Argument, ScriptName, Scripts
from trunkline_shared.settings import CommonSettings
from trunkline_worker.execute import Claimed

PREFIX = "contract"
POOL = "default"
HOUR_MS = 3_600_000
TERMS = "score exp tmo slots lost stream"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Bed:
    """One empty Redis, with the scripts in it."""

    redis: Any  # a client; its types are not fit for `await`
    keys: Keys = field(default_factory=lambda: Keys(PREFIX))

    def __post_init__(self) -> None:
        self.set(CommonSettings(prefix=PREFIX))

    def set(self, settings: CommonSettings) -> None:
        """Scripts of other settings, which `load` then loads."""
        self.scripts = Scripts.build(self.keys, settings)

    async def load(self) -> None:
        for text in self.scripts.texts.values():
            await self.redis.script_load(text)

    async def call(self, name: ScriptName, *arguments: Argument) -> Any:
        return await self.redis.execute_command(*self.scripts.call(name, *arguments))

    async def submit(self, run_id: str | None = None, **wanted: Any) -> str:
        """Submits a run that must be admitted; returns its id."""
        run_id = run_id or new_run_id()
        code = await self.admit(run_id, **wanted)
        assert code == "ok", code
        return run_id

    async def admit(self, run_id: str | None = None, **wanted: Any) -> str:
        """The code that `submit` answers."""
        code, wait_ms = await self.ask(run_id or new_run_id(), **wanted)
        assert int(wait_ms) >= 0
        return code

    async def ask(self, run_id: str, **wanted: Any) -> tuple[str, int]:
        code, wait_ms = await self.answer(run_id, **wanted)
        return code.decode(), int(wait_ms)

    async def answer(
        self, run_id: str, *, queue_timeout_ms: int = 120_000, max_queue: int = 1000, **wanted: Any
    ) -> Any:
        """What `submit` answers."""
        shared = ("runs", queue_timeout_ms, max_queue)
        (answer,) = await self.call("submit", *shared, *self.asked(run_id, **wanted))
        if isinstance(answer, RedisError):
            raise answer
        return answer

    def asked(
        self,
        run_id: str,
        *,
        agent: str = "agent",
        pool: str = POOL,
        principal: str = "someone",
        reply: str = "",
        stream: bool = False,
        on_lost: str = "fail",
        slots: int = 1,
        timeout_ms: int = 600_000,
        max_concurrent: int = 0,
        record: bytes = b"",
        rhooks: bool = False,
        lists: str = "",
        conversation: str = "",
        wait_ms: int = 300_000,
        max_waiting: int = 1000,
        unknown: str = "create",
        hooks: bool = False,
        named: tuple[Argument, ...] = (),
    ) -> list[Argument]:
        """What `submit` is told of one run, how much first; `named` are more names and values."""
        request = RunRequest(run_id, agent, pool, principal, reply, stream)  # type: ignore[arg-type]
        terms = f"{timeout_ms} {slots} {on_lost} {int(stream)}"
        more: list[Argument] = [*named]
        if record:
            more += ("record", record)
        if rhooks:
            more += ("rhooks", 1)
        if lists:
            more += ("lists", lists)
        if conversation:
            more += ("conv", conversation, "wait_ms", wait_ms, "max_waiting", max_waiting)
            more += ("unknown", unknown, "model", agent, "hooks", int(hooks))
        head = (run_id, f"{agent} {pool} {principal}", reply, terms, max_concurrent, HOUR_MS)
        return [7 + len(more), *head, encode_job(request), *more]

    async def renew(
        self,
        worker: str = "w",
        mode: str = "start",
        *,
        known: int = -1,
        draining: bool = False,
        pools: tuple[str, ...] = (POOL,),
        agents: tuple[str, ...] = ("agent",),
        runs: tuple[tuple[str, int], ...] = (),
    ) -> Any:
        flat = [value for run in runs for value in run]
        head: list[Argument] = [worker, mode, known, int(draining)]
        return await self.call("renew", *head, len(pools), *pools, len(agents), *agents, *flat)

    async def claim(
        self, worker: str = "w", free: int = 100, *pools: str, suspects: bool = True
    ) -> list[Claimed]:
        _, runs = await self.claim_left(worker, free, *pools, suspects=suspects)
        return runs

    async def claim_left(
        self, worker: str = "w", free: int = 100, *pools: str, suspects: bool = True
    ) -> tuple[str, list[Claimed]]:
        left, *rows = await self.call("claim", worker, free, int(suspects), *(pools or (POOL,)))
        return left.decode(), [Claimed.parse(row) for row in rows]

    async def append(self, run: Claimed, first_seq: int, *events: RunEvent, reply: str = "") -> str:
        stream_id = f"{run.epoch}-{first_seq + len(events) - 1}"
        frame = encode_frame(first_seq, events)
        answer = await self.call("append", reply, "0", run.run_id, stream_id, frame)
        return str((answer if isinstance(answer, bytes) else answer[0]).decode())

    async def record(self, run: Claimed, first_seq: int, entry: bytes, *events: RunEvent) -> str:
        """As `append`, of events that bring an entry of the journal."""
        stream_id = f"{run.epoch}-{first_seq + len(events) - 1}"
        frame = encode_frame(first_seq, events)
        answer = await self.call("append", "", "2", run.run_id, stream_id, frame, entry)
        return str((answer if isinstance(answer, bytes) else answer[0]).decode())

    async def journal(self, run_id: str) -> list[bytes]:
        entries: list[bytes] = await self.redis.lrange(self.keys.journal(run_id), 0, -1)
        return entries

    async def finish(
        self,
        run: Claimed,
        first_seq: int,
        *events: RunEvent,
        outcome: str = "finished",
        result: bytes = b"",
        turn: bytes = b"",
    ) -> str:
        stream_id = f"{run.epoch}-{first_seq + len(events) - 1}"
        frame = encode_frame(first_seq, events)
        end = (run.run_id, stream_id, frame, outcome, result, turn, 0)
        answer = await self.call("finish", *end)
        return str((answer if isinstance(answer, bytes) else answer[0]).decode())

    async def finish_for(self, run_id: str, code: str = "cancelled") -> str:
        """Ends a run as someone who does not own it."""
        event = orjson.dumps(["failed", code, "It was ended."])
        return str((await self.call("finish", run_id, "", event, "failed")).decode())

    async def cancel(self, run_id: str) -> str:
        return str((await self.call("cancel", run_id, "The client went away.")).decode())

    async def hand_back(self, worker: str, *run_ids: str) -> list[str]:
        return [run_id.decode() for run_id in await self.call("hand_back", worker, *run_ids)]

    async def sweep(self, *, silent_ms: int = 500, hold: bool = False) -> tuple[int, int, int]:
        """A sweep `silent_ms` after the one before; a hold that is in force goes unless wanted."""
        await self.redis.set(f"{PREFIX}:sweep:last", now_ms() - silent_ms)
        if not hold:
            await self.redis.delete(f"{PREFIX}:sweep:hold")
        moved, ended, held = await self.call("sweep")
        return moved, ended, held

    async def kill(self, worker: str) -> None:
        """What the death of a worker leaves: no lease."""
        await self.redis.delete(self.keys.lease(worker))

    async def crash(self, worker: str) -> None:
        """A worker dies and the sweep finds it."""
        await self.kill(worker)
        await self.sweep()

    async def log(self, run_id: str) -> list[tuple[str, int, list[RunEvent]]]:
        """(stream id, first seq, events) of every frame."""
        entries = await self.redis.xrange(self.keys.log(run_id))
        return [(at.decode(), *decode_frame(fields[b"f"])) for at, fields in entries]

    async def events(self, run_id: str) -> list[RunEvent]:
        return [event for _, _, events in await self.log(run_id) for event in events]

    async def state(self, run_id: str) -> dict[str, str]:
        values = await self.redis.hgetall(self.keys.run(run_id))
        fields = {name.decode(): value.decode() for name, value in values.items()}
        packed = {}
        for names, where in (("agent pool principal", "who"), (TERMS, "terms")):
            packed |= dict(zip(names.split(), fields.pop(where, "").split(), strict=False))
        return packed | fields

    async def set_state(self, run_id: str, **values: str | int) -> None:
        await self.redis.hset(self.keys.run(run_id), mapping=values)

    async def queued(self, pool: str = POOL) -> list[str]:
        return [member.decode() for member in await self.redis.zrange(self.keys.queue(pool), 0, -1)]

    async def tokens(self, pool: str = POOL) -> int:
        return int(await self.redis.llen(self.keys.wake(pool)))

    async def traces(self, run_id: str) -> list[str]:
        """Every key, but for the run's own and where its turn is, that still names the run."""
        found = []
        where = self.keys.places("")
        async for key in self.redis.scan_iter():
            name = key.decode()
            if (
                not name.startswith(where)
                and not name.endswith(run_id)
                and await self._names(key, run_id)
            ):
                found.append(name)
        return found

    async def _names(self, key: bytes, run_id: str) -> bool:
        match await self.redis.type(key):
            case b"zset":
                return await self.redis.zscore(key, run_id) is not None
            case b"set":
                return bool(await self.redis.sismember(key, run_id))
            case b"hash":
                return bool(await self.redis.hexists(key, run_id))
            case b"list":
                return run_id.encode() in await self.redis.lrange(key, 0, -1)
        return False
