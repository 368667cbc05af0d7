"""The keys that `trunkline keys` keeps in Redis, as an API process asks for them."""

from collections.abc import Sequence

from trunkline_api.lookup import Lookup
from trunkline_shared.api_keys import ApiKey, decode


class StoredKeys:
    """Nothing is remembered: what was revoked is so at once, at every process."""

    def __init__(self, lookup: Lookup, key: str) -> None:
        self._lookup = lookup
        self._key = key

    async def find(self, digests: Sequence[str]) -> tuple[list[ApiKey], bool]:
        """The records of those that are known, and whether there are any keys at all.

        One round trip. Raises ApiError 503 without Redis.
        """
        commands: list[tuple[str, ...]] = [("EXISTS", self._key)]
        if digests:
            commands.append(("HMGET", self._key, *digests))
        exist, *found = await self._lookup.ask(*commands)
        records = [decode(raw) for raws in found for raw in raws if raw is not None]
        return [record for record in records if record is not None], bool(exist)
