"""Stored responses: what a run was asked and what came of it, read by any API process."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import orjson

from trunkline_api.errors import SERVER_ERROR, ApiError, invalid
from trunkline_api.hub import UNREADABLE
from trunkline_api.kept_reasoning import Seal, seal_of
from trunkline_api.lookup import Lookup
from trunkline_api.render.response import About, ResponseStatus, finished, run_id_of, unfinished
from trunkline_shared.events import Failed
from trunkline_shared.fold import Fold, Folded, decode, encode, said
from trunkline_shared.frame import decode_frame
from trunkline_shared.keys import Keys
from trunkline_shared.transcript import Item
from trunkline_shared.vault import Unreadable, Vault

logger = logging.getLogger("trunkline.stored_responses")

RECORD_VERSION = 1
_LARGE = 64 * 1024
_T = TypeVar("_T")
_UNFINISHED: dict[bytes, ResponseStatus] = {
    b"queued": "queued",
    b"waiting": "queued",
    b"running": "in_progress",
}
LOST = Failed("server_error", "The response's result was lost.")


@dataclass(frozen=True, slots=True)
class Record:
    """What is stored of a request: `input` are its own items, `previous` the response it follows,
    `echo` what replies repeat of it. With `seals` they have reasoning sealed, too.
    """

    principal: str
    model: str
    echo: dict[str, Any]
    input: list[Item] = field(default_factory=list)
    previous: str | None = None
    created: int = 0
    seals: bool = False
    v: int = RECORD_VERSION


@dataclass(frozen=True, slots=True)
class Stored:
    """One response. Without a `folded` result its run has not ended, and `status` says how far
    it got; with one the result tells. `size` is what it takes in Redis, in bytes.
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


class StoredResponses:
    """Reads and deletes what `submit` and `finish` stored.

    Methods raise ApiError: 503 while Redis is away.
    """

    def __init__(self, lookup: Lookup, keys: Keys, vault: Vault, *, max_bytes: int) -> None:
        self._lookup = lookup
        self._keys = keys
        self._vault = vault
        self._max_bytes = max_bytes  # of all that one request can build on

    @property
    def vault(self) -> Vault:
        return self._vault

    @property
    def max_bytes(self) -> int:
        return self._max_bytes

    async def seal(self, record: Record) -> bytes:
        """The record as `submit` stores it."""
        stored = orjson.dumps(record)
        return await _aside(len(stored), lambda: self._vault.seal(stored))

    def sealing(self, found: Stored) -> Stored:
        """The same, whose replies have reasoning sealed."""
        return replace(found, seal=seal_of(self._vault, found.record.principal))

    async def get(self, response: str, principal: str) -> Stored:
        """As `find`, but raises ApiError 404."""
        found = await self.find(response, principal)
        if found is None:
            raise response_not_found(response)
        return found

    async def find(self, response: str, principal: str) -> Stored | None:
        """None for what does not exist, or is somebody else's."""
        found = await self._read(response, principal)
        return self.sealing(found) if found is not None and found.record.seals else found

    async def _read(self, response: str, principal: str) -> Stored | None:
        run_id = run_id_of(response)
        if run_id is None:
            return None
        # The state first: of a run that ends between the three its result is seen.
        state, sealed, result = await self._lookup.ask(
            ("HGET", self._keys.run(run_id), "st"),
            ("GET", self._keys.record(run_id)),
            ("GET", self._keys.result(run_id)),
        )
        if sealed is None:
            return None
        try:
            record = await _aside(len(sealed), lambda: _record(self._vault.open(sealed)))
            if record.principal != principal:
                return None
            if result is not None:
                folded = await _aside(len(result), lambda: decode(self._vault.open(result)))
                if not folded.ended_ms:  # by a script, which knows no more than how it ended
                    folded = await self._with_output(run_id, folded)
                return Stored(run_id, record, folded, size=len(sealed) + len(result))
        except (Unreadable, ValueError) as error:
            logger.error("response %s cannot be read: %s", response, error)
            message = f"The response '{response}' is stored, but cannot be read."
            raise ApiError(500, message, SERVER_ERROR, "server_error") from error
        if state in _UNFINISHED:
            return Stored(run_id, record, None, _UNFINISHED[state])
        return Stored(run_id, record, Folded(terminal=LOST))

    async def _with_output(self, run_id: str, bare: Folded) -> Folded:
        """What a run said whose worker could not store it; from its log, while that lives."""
        (entries,) = await self._lookup.ask(("XRANGE", self._keys.log(run_id), "-", "+"))
        frames = [fields[1] for _, fields in entries]
        whole, sealed = await _aside(sum(map(len, frames)), lambda: self._folded(frames))
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
        return folded, self._vault.seal(encode(folded))

    async def delete(self, response: str, principal: str) -> bool:
        """Whether there was such a response of this principal."""
        stored = await self.find(response, principal)
        if stored is None:
            return False
        run_id = stored.run_id
        await self._lookup.ask(("DEL", self._keys.record(run_id), self._keys.result(run_id)))
        return True

    async def history(self, response: str, principal: str) -> list[Item]:
        """All that was asked and said up to the end of a response, from its first ancestor on.

        Raises ApiError 400 when one of them does not exist (any more), or has not ended, and when
        they are larger than one request may be.
        """
        size = 0
        turns: list[Sequence[Item]] = []
        following: str | None = response
        while following is not None:
            stored = await self.find(following, principal)
            if stored is None:
                raise _not_found(following, response)
            if stored.folded is None:
                raise invalid(
                    "previous_response_id",
                    f"The response '{following}' has not ended yet: "
                    "GET it until its status says so, then ask again.",
                    "previous_response_not_ended",
                )
            size += stored.size
            if size > self._max_bytes:
                raise _too_long(self._max_bytes)
            turns += (said(stored.folded), stored.record.input)
            following = stored.record.previous
        return [item for turn in reversed(turns) for item in turn]


async def _aside(size: int, work: Callable[[], _T]) -> _T:
    """In a thread when it takes a while: others' streams are on the loop."""
    return await asyncio.to_thread(work) if size > _LARGE else work()


def _record(stored: bytes) -> Record:
    try:
        values: dict[str, Any] = orjson.loads(stored)
        if values["v"] != RECORD_VERSION:
            raise ValueError("a record of an unknown version")
        return Record(**values)
    except (KeyError, TypeError) as error:
        raise ValueError("not the record of a response") from error


def response_not_found(response: str) -> ApiError:
    """404 for what is no response of this principal."""
    return ApiError(
        404,
        f"Response with id '{response[:100]}' not found.",
        code="response_not_found",
        param="response_id",
    )


def _too_long(max_bytes: int) -> ApiError:
    message = f"What the response follows takes more than {max_bytes} bytes. "
    message += "Begin anew with an 'input' that says what matters of it."
    return invalid("previous_response_id", message, "context_length_exceeded")


def _not_found(missing: str, asked: str) -> ApiError:
    message = f"Previous response with id '{missing[:100]}' not found."
    if missing != asked:
        message = f"'{asked}' follows a response that is gone: '{missing}'. Send the whole input."
    return invalid("previous_response_id", message, "previous_response_not_found")
