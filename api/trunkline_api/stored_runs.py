"""What is stored of runs: what each was asked and what came of it, read by any API process."""

import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, TypeAlias

import orjson

from trunkline_api.aside import aside
from trunkline_api.errors import SERVER_ERROR, ApiError
from trunkline_api.hub import UNREADABLE
from trunkline_api.kept_reasoning import Seal
from trunkline_api.lookup import Lookup
from trunkline_api.render.response import About, ResponseStatus, finished, unfinished
from trunkline_shared.events import Failed
from trunkline_shared.fold import Fold, Folded, decode, encode
from trunkline_shared.frame import decode_frame
from trunkline_shared.keys import Keys
from trunkline_shared.transcript import Item
from trunkline_shared.vault import Unreadable, Vault

logger = logging.getLogger("trunkline.stored_runs")

RECORD_VERSION = 1
_UNFINISHED: dict[bytes, ResponseStatus] = {
    b"queued": "queued",
    b"waiting": "queued",
    b"running": "in_progress",
}
LOST = Failed("server_error", "The response's result was lost.")

RecordKind: TypeAlias = Literal["response", "completion"]


@dataclass(frozen=True, slots=True)
class Record:
    """What is stored of a request: `echo` is what replies repeat of it. Of a response `input` are
    its own items, `previous` is the response it follows, and `ancestors` are the runs of that one
    and the next before it; with `seals` its replies have reasoning sealed, too. `messages` are
    those of a completion, as they were sent.
    """

    principal: str
    model: str
    echo: dict[str, Any]
    input: list[Item] = field(default_factory=list)
    previous: str | None = None
    created: int = 0
    seals: bool = False
    v: int = RECORD_VERSION
    kind: RecordKind = "response"
    ancestors: list[str] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Stored:
    """One run. Without a `folded` result it has not ended, and `status` says how far it got; with
    one the result tells. `size` is what both take as JSON, in bytes.
    """

    run_id: str
    record: Record
    folded: Folded | None
    status: ResponseStatus = "completed"
    size: int = 0
    seal: Seal | None = None

    @property
    def about(self) -> About:
        return About(self.run_id, self.record.model, self.record.echo, self.seal)

    @property
    def value(self) -> dict[str, Any]:
        """The response object."""
        if self.folded is None:
            return unfinished(self.about, self.status)
        return finished(self.about, self.folded)


class StoredRuns:
    """Reads and deletes what `submit` and `finish` stored of runs of one `kind`.

    Methods raise ApiError: 503 while Redis is away, 500 for what cannot be read.
    """

    kind: RecordKind

    def __init__(self, lookup: Lookup, keys: Keys, vault: Vault, *, max_bytes: int) -> None:
        self._lookup = lookup
        self._keys = keys
        self._vault = vault
        self._max_bytes = max_bytes  # of all that is read for one request

    @property
    def vault(self) -> Vault:
        return self._vault

    @property
    def max_bytes(self) -> int:
        return self._max_bytes

    async def seal(self, record: Record) -> bytes:
        """The record as `submit` stores it."""
        stored = orjson.dumps(record)
        return await aside(len(stored), lambda: self._vault.pack(stored))

    async def read(
        self, run_ids: Sequence[str], principal: str, *, leave_out: bool = False
    ) -> list[Stored | None]:
        """All of them in one round trip; None for what does not exist, or is somebody else's, and
        with `leave_out` for what cannot be read.
        """
        if not run_ids:
            return []
        # The state first: of a run that ends between the three its result is seen.
        found = await self._lookup.ask(
            *(("HGET", self._keys.run(run_id), "st") for run_id in run_ids),
            *(("GET", self._keys.record(run_id)) for run_id in run_ids),
            *(("GET", self._keys.result(run_id)) for run_id in run_ids),
        )
        rows = [found[start : start + len(run_ids)] for start in range(0, len(found), len(run_ids))]
        look = partial(self._seen, principal=principal, leave_out=leave_out)
        size = sum(len(value) for value in found if value is not None)
        stored = await aside(size, lambda: [*map(look, run_ids, *rows)])
        return [await self._whole(each) for each in stored]

    async def forget(self, stored: Stored) -> None:
        """Deletes it, with its place in all lists that are known to have it."""
        run_id = stored.run_id
        await self._lookup.ask(
            ("DEL", self._keys.record(run_id), self._keys.result(run_id)),
            *(("ZREM", each, run_id) for each in self._lists_of(stored.record)),
        )

    @abstractmethod
    def _lists_of(self, record: Record) -> Sequence[str]:
        """The keys of all sorted sets that may have it."""

    def _seen(
        self,
        run_id: str,
        state: bytes | None,
        sealed: bytes | None,
        result: bytes | None,
        *,
        principal: str,
        leave_out: bool,
    ) -> Stored | None:
        if sealed is None:
            return None
        try:
            asked = self._vault.unpack(sealed)
            record = _record(asked)
            if record.principal != principal or record.kind != self.kind:
                return None
            if result is not None:
                said = self._vault.unpack(result)
                return Stored(run_id, record, decode(said), size=len(asked) + len(said))
        except (Unreadable, ValueError) as error:
            logger.error("the %s of run %s cannot be read: %s", self.kind, run_id, error)
            if leave_out:
                return None
            message = f"The {self.kind} of run '{run_id}' is stored, but cannot be read."
            raise ApiError(500, message, SERVER_ERROR, "server_error") from error
        if state in _UNFINISHED:
            return Stored(run_id, record, None, _UNFINISHED[state])
        return Stored(run_id, record, Folded(terminal=LOST))

    async def _whole(self, stored: Stored | None) -> Stored | None:
        """With what a run said whose end a script wrote, which knows no more than how it ended."""
        folded = None if stored is None else stored.folded
        if stored is None or not stored.size or folded is None or folded.ended_ms:
            return stored
        return replace(stored, folded=await self._with_output(stored.run_id, folded))

    async def _with_output(self, run_id: str, bare: Folded) -> Folded:
        """What a run said whose worker could not store it; from its log, while that lives."""
        (entries,) = await self._lookup.ask(("XRANGE", self._keys.log(run_id), "-", "+"))
        frames = [fields[1] for _, fields in entries]
        whole, sealed = await aside(sum(map(len, frames)), lambda: self._folded(frames))
        if whole.terminal is None:
            return bare
        await self._lookup.ask(("SET", self._keys.result(run_id), sealed, "XX", "KEEPTTL"))
        return whole

    def _folded(self, frames: Sequence[bytes]) -> tuple[Folded, bytes]:
        """What they say, and that sealed; nothing, if another version wrote them."""
        fold = Fold()
        try:
            for frame in frames:
                fold.add(*decode_frame(frame))
            folded = fold.result()
        except UNREADABLE:
            folded = Folded()
        return folded, self._vault.pack(encode(folded))


def _record(stored: bytes) -> Record:
    try:
        values: dict[str, Any] = orjson.loads(stored)
        if values["v"] != RECORD_VERSION:
            raise ValueError("a record of an unknown version")
        return Record(**values)
    except (KeyError, TypeError) as error:
        raise ValueError("not the record of a stored run") from error
