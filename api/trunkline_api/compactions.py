"""Compacted conversations at the edge: sealed for those who ask, opened when they come back."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from trunkline_api.errors import ApiError, invalid
from trunkline_shared.compaction_seal import Compaction, Unopened, expanded, is_compaction, seal
from trunkline_shared.transcript import Item, Opaque
from trunkline_shared.vault import Vault

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
        return seal(self._vault, Compaction(items), principal)

    async def opened(
        self,
        items: list[Item],
        principal: str,
        sent: Sequence[Any] | str = (),
        member: str = "input",
    ) -> list[Item]:
        """The items with what each compaction stands for in its place.

        Raises ApiError 400 for one that was not sealed here for this principal; it names the item
        of `sent`, which is that `member` of the request.
        """
        size = sum(_size(item) for item in items if item["type"] == "opaque")
        if not size:
            return items
        try:
            if size > _LARGE:  # others' streams are on the loop
                return await asyncio.to_thread(expanded, items, self._vault, principal)
            return expanded(items, self._vault, principal)
        except Unopened as error:
            raise _unreadable(error.item, sent, member) from None


def _size(item: Opaque) -> int:
    """Of what is to be opened, in characters and one; 0 for any other."""
    return len(str(item["value"].get("encrypted_content"))) + 1 if is_compaction(item) else 0


def _unreadable(item: Opaque, sent: Sequence[Any] | str, member: str) -> ApiError:
    for number, each in enumerate(sent):
        if each is item["value"]:
            param = f"{member}[{number}].encrypted_content"
            message = f"'{param}' is nothing that was compacted here with this API key: "
            return invalid(param, f"{message}send it as it came, or leave the item out.")
    message = "What came before has a compaction that cannot be opened any more."
    return invalid("previous_response_id", message)
