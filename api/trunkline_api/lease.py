"""The right to do what one API process at a time may do."""

import asyncio
import secrets
import time
from typing import Final

from trunkline_shared.pipe import Pipe

LEASE_S: Final = 5.0
LOOK_S: Final = 0.5  # how often its holder looks; nothing may block on the pipe, which all share


class LeaseLost(Exception):
    """Another process may deliver by now."""


class Lease:
    """The right to deliver, of one process at a time. Gone by itself `LEASE_S` after its end."""

    def __init__(self, pipe: Pipe, key: str) -> None:
        self._pipe = pipe
        self._key = key
        self._token = secrets.token_hex(16)
        self._until = 0.0

    def check(self) -> None:
        """Raises LeaseLost, also while it is unknown whether it still holds."""
        if time.monotonic() >= self._until:
            raise LeaseLost

    async def renew(self) -> bool:
        """Takes or prolongs it; False when it is another's."""
        asked_at, ms = time.monotonic(), int(LEASE_S * 1000)
        if asked_at < self._until:
            owner, _ = await asyncio.gather(
                self._pipe.send("GET", self._key), self._pipe.send("PEXPIRE", self._key, ms)
            )
            # An answer within its time: it was ours when Redis prolonged it.
            is_ours = owner == self._token.encode() and time.monotonic() < self._until
        else:
            answer = await self._pipe.send("SET", self._key, self._token, "NX", "PX", ms)
            is_ours = answer is not None
        self._until = asked_at + LEASE_S if is_ours else 0.0
        return is_ours
