"""Compacted conversations, sealed so that nobody but the one who asked can have them opened."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import orjson

from trunkline_api.errors import ApiError, invalid
from trunkline_shared.transcript import Item, Opaque
from trunkline_shared.vault import Unreadable, Vault

_PREFIX: Final = "tlc1."  # tells the version, and that it was sealed here
_KIND: Final = "compaction"
_LARGE: Final = 64 * 1024


class Compactions:
    """Seals and opens what `compaction` items hold."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def check(self) -> None:
        """Raises ApiError 400 where there is nothing to seal with."""
        if not self._vault.has_key:
            message = "Nothing is compacted here: that needs the server's TRUNKLINE_SECRET_KEY."
            raise invalid(None, message, "secret_key_required")

    def seal(self, items: Sequence[Item], principal: str) -> str:
        """The `encrypted_content` that stands for these items."""
        self.check()
        value = {"kind": _KIND, "principal": principal, "items": items}
        return _PREFIX + self._vault.seal(orjson.dumps(value)).decode()

    async def opened(
        self, items: Sequence[Item], principal: str, sent: Sequence[Any] | str = ()
    ) -> list[Item]:
        """The items with what each compaction stands for in its place.

        Raises ApiError 400 for one that was not sealed here for this principal; it names the item
        of `sent`, which is the request's `input`.
        """
        opened: list[Item] = []
        for item in items:
            if item["type"] != "opaque" or item["value"].get("type") != _KIND:
                opened.append(item)
                continue
            try:
                opened += await self._open(item, principal)
            except ValueError:
                raise _unreadable(item, sent) from None
        return opened

    async def _open(self, item: Opaque, principal: str) -> list[Item]:
        content = item["value"].get("encrypted_content")
        if not isinstance(content, str) or not content.startswith(_PREFIX):
            raise ValueError("not sealed here")
        token = content.removeprefix(_PREFIX).encode(errors="replace")
        if len(token) > _LARGE:  # others' streams are on the loop
            return await asyncio.to_thread(self._items, token, principal)
        return self._items(token, principal)

    def _items(self, token: bytes, principal: str) -> list[Item]:
        if not self._vault.is_token(token):
            raise ValueError("not sealed at all")
        try:
            value = orjson.loads(self._vault.open(token))
        except Unreadable as error:
            raise ValueError("sealed with another key, or damaged") from error
        # The vault seals other things too.
        if not isinstance(value, dict) or value.get("kind") != _KIND:
            raise ValueError("no compaction")
        if value["principal"] != principal:
            raise ValueError("somebody else's")
        items: list[Item] = value["items"]
        return items


def _unreadable(item: Opaque, sent: Sequence[Any] | str) -> ApiError:
    for number, each in enumerate(sent):
        if each is item["value"]:
            param = f"input[{number}].encrypted_content"
            message = f"'{param}' is nothing that was compacted here with this API key: "
            return invalid(param, f"{message}send it as it came, or leave the item out.")
    message = "The response follows a compaction that cannot be opened any more."
    return invalid("previous_response_id", message)
