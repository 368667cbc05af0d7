"""What outlives a run: its result, where that is stored, and its turn in a conversation."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from trunkline_shared import fold
from trunkline_shared.compaction_seal import Unopened, expanded
from trunkline_shared.conversation import (
    Turn,
    decode_turn,
    encode_turn,
    history,
    loose_end,
    new_places,
    places,
)
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.events import Failed, Finished, RunEvent
from trunkline_shared.fold import Fold, Folded
from trunkline_shared.frame import decode_frame
from trunkline_shared.keys import Keys
from trunkline_shared.pipe import Pipe
from trunkline_shared.profile import open_llm
from trunkline_shared.run import RunRequest, created_ms
from trunkline_shared.transcript import Item
from trunkline_shared.vault import Unreadable, Vault

LARGE = 64 * 1024  # bytes of a conversation that are opened beside the loop


class Begun(Protocol):
    """What is to be known of a claimed run."""

    @property
    def run_id(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def last_seq(self) -> int: ...


class Memory:
    """Reads what a run builds on. Everything in Redis is sealed with `vault`."""

    def __init__(self, pipe: Pipe, keys: Keys, vault: Vault) -> None:
        self._pipe = pipe
        self._keys = keys
        self.vault = vault

    async def begin(self, run: Begun, request: RunRequest) -> "Remembered":
        """Of a run that leaves something behind. Waits for Redis while it is away.

        Raises Unreadable when the conversation was sealed with a secret key not known here, and
        ValueError when it cannot be read for another reason.
        """
        folded = Fold()
        if run.attempt > 1:
            for _, (_, frame) in await self._read("XRANGE", self._keys.log(run.run_id), "-", "+"):
                folded.add(*decode_frame(frame))
        before: list[Item] = []
        stored: Sequence[bytes] = ()
        if request.conversation:
            stored = await self._read("LRANGE", self._keys.turns(request.conversation), 0, -1)
            # Ten thousand turns take half a second, and others' streams are on the loop.
            if sum(map(len, stored)) > LARGE:
                before = await asyncio.to_thread(self._history, stored, request.principal)
            else:
                before = self._history(stored, request.principal)
        llm = open_llm(request.profile, self.vault).model if request.profile else ""
        return Remembered(run, request, before, folded, self.vault, llm=llm, seen=len(stored))

    async def journal(self, run_id: str) -> list[bytes]:
        """What earlier attempts of the run recorded, in order. Waits for Redis while it is away."""
        entries: list[bytes] = await self._read("LRANGE", self._keys.journal(run_id), 0, -1)
        return entries

    def _history(self, stored: Sequence[bytes], principal: str) -> list[Item]:
        items = history([decode_turn(self.vault.open(turn)) for turn in stored])
        try:
            return expanded(items, self.vault, principal)
        except Unopened as error:
            raise Unreadable(str(error)) from None

    async def _read(self, *command: Any) -> Any:
        while True:
            try:
                return await self._pipe.send(*command)
            except RedisUnavailable:
                await self._pipe.connected()


class Remembered:
    """One run that is remembered. `request` is to be executed: it continues the conversation.
    `loose_end` is why it cannot be: what of the caller's calls it leaves open, or that it has
    nothing to answer.
    """

    def __init__(
        self,
        run: Begun,
        request: RunRequest,
        before: Sequence[Item],
        folded: Fold,
        vault: Vault,
        *,
        llm: str,
        seen: int,
    ) -> None:
        self._llm = llm
        self._seen = seen
        self._began_s = time.time()
        self._vault = vault
        self._fold = folded
        self._seq = run.last_seq + 1
        self._asked = request
        self._new = request.transcript
        self._new_at: list[int] = []
        self.loose_end: str | None = None
        if request.conversation:
            known = () if request.all_new else before
            self._new_at = new_places(known, request.transcript)
            self._new = [request.transcript[at] for at in self._new_at]
            self.loose_end = loose_end(before, self._new)
            if not before and not self._new:
                self.loose_end = "Nothing was said in the conversation yet: say something."
        self.request = replace(request, transcript=[*before, *self._new])

    def add(self, events: Sequence[RunEvent]) -> None:
        """Takes the next events; the end, if they have it, gets its time."""
        if events and isinstance(end := events[-1], Finished):
            end.at_ms = time.time_ns() // 1_000_000
        self._fold.add(self._seq, events)
        self._seq += len(events)

    def kept(self) -> tuple[bytes, bytes]:
        """What `finish` stores as the result, and adds to the conversation, once the last event
        was added; sealed, empty if nothing. Raises TypeError or ValueError for what is no text.
        """
        folded, result, turn = self._fold.result(), b"", b""
        if self._asked.store:
            result = self._vault.pack(fold.encode(folded))
        if self._asked.conversation:
            turn = self._vault.seal(encode_turn(self._turn(folded)))
        return result, turn

    def _turn(self, folded: Folded) -> Turn:
        now_s = time.time()
        end = folded.terminal
        failed = end if isinstance(end, Failed) else None
        said = fold.placed(folded)
        return Turn(
            run_id=self._asked.run_id,
            asked_ms=created_ms(self._asked.run_id),
            ended_ms=int(now_s * 1000),
            model=self._asked.model or self._asked.agent,
            llm=self._llm or (isinstance(end, Finished) and end.model) or "",
            items=self._new,
            said=[item for _, item in said],
            outcome=failed.code if failed else "finished",
            message=failed.message if failed else "",
            usage=folded.usage,
            latency_s=round(now_s - self._began_s, 3),
            items_at=places(self._new_at),
            said_at=places([at for at, _ in said]),
            seen=self._seen,
        )
