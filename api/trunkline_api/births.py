"""Since when this deployment has known each of its models."""

import time
from collections.abc import Iterable

from trunkline_api.lookup import Lookup


class Births:
    """The same at every process and after every restart; asked of Redis once per model."""

    def __init__(self, lookup: Lookup, key: str) -> None:
        self._lookup = lookup
        self._key = key
        self._known: dict[str, int] = {}

    async def of(self, models: Iterable[str]) -> dict[str, int]:
        """Unix seconds by model; now for those that nobody has asked about before.

        Raises ApiError 503 without Redis.
        """
        wanted = list(models)
        new = [model for model in wanted if model not in self._known]
        if new:
            now = int(time.time())
            noted = [("HSETNX", self._key, model, now) for model in new]
            *_, moments = await self._lookup.ask(*noted, ("HMGET", self._key, *new))
            self._known |= {model: int(moment) for model, moment in zip(new, moments, strict=True)}
        return {model: self._known[model] for model in wanted}
