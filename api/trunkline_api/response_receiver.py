"""A webhook of OpenAI's kind: what it is told of responses that have ended."""

import logging
from collections.abc import Sequence
from typing import Final

import orjson

from trunkline_api.aside import aside
from trunkline_api.delivery import Entry
from trunkline_api.render.response import response_id, status_of
from trunkline_api.response_webhooks import ResponseWebhook
from trunkline_api.webhook_client import Parcel
from trunkline_shared import fold
from trunkline_shared.keys import Keys
from trunkline_shared.pipe import Pipe
from trunkline_shared.vault import Unreadable, Vault

logger = logging.getLogger("trunkline.webhooks")

_GONE: Final = 410  # a receiver says with it that it wants no more


class ResponseReceiver:
    """Hears of each response by itself."""

    retry_delay_s = 1.0

    def __init__(self, webhook: ResponseWebhook, pipe: Pipe, keys: Keys, vault: Vault) -> None:
        self.name = webhook.shown_url
        self._webhook = webhook
        self._pipe = pipe
        self._keys = keys
        self._vault = vault

    @staticmethod
    def lane(entry: Entry) -> str:
        return entry.run

    @staticmethod
    def is_passing(status: int) -> bool:
        return status != _GONE  # one that does not know the new secret yet says 400 or 401

    async def parcels(self, entry: Entry) -> Sequence[Parcel]:
        stored = await self._pipe.send("GET", self._keys.result(entry.run))
        if stored is None:
            return ()  # it was deleted, and nobody can fetch it
        try:
            whole = await aside(len(stored), lambda: fold.decode(self._vault.unpack(stored)))
        except (Unreadable, ValueError) as error:
            logger.error("the end of response %s is not delivered: %s", entry.run, error)
            return ()
        end = whole.terminal
        event = "response." + ("failed" if end is None else status_of(end))
        if event not in self._webhook.events:
            return ()
        value = {
            "id": f"evt_{entry.run}",
            "object": "event",
            "created_at": entry.ended_ms // 1000,
            "type": event,
            "data": {"id": response_id(entry.run)},
        }
        body = orjson.dumps(value)
        signed = self._webhook.signed(f"wh_{entry.run}", body)
        return [Parcel(self._webhook.url, signed, body)]
