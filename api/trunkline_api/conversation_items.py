"""The items of conversations: read in pages, added, deleted.

What a page costs hangs on its length, not on the conversation's: a turn keeps its place in the
list of turns for ever, and the place is found by the id of the run.
"""

from collections.abc import Sequence
from typing import Any

from trunkline_api.aside import aside
from trunkline_api.compactions import Compactions
from trunkline_api.conversations import Conversations
from trunkline_api.errors import ApiError, invalid, no_conversation, unreadable_conversation
from trunkline_api.kept_reasoning import opened
from trunkline_api.lookup import Lookup
from trunkline_api.paging import Order, listed
from trunkline_api.render.conversation_items import Place, items_of, place_of, without
from trunkline_api.render.input_items import ItemJson
from trunkline_api.responses_request import neutral
from trunkline_api.runs import Runs
from trunkline_api.wire.response_items import InputItem, ItemReference
from trunkline_api.wire.response_rules import check_item, is_trigger
from trunkline_shared.conversation import Turn, decode_turn, encode_turn
from trunkline_shared.keys import Keys
from trunkline_shared.run import created_ms, new_run_id
from trunkline_shared.transcript import Item
from trunkline_shared.vault import Unreadable, Vault

_AT_ONCE = 16  # turns read at once, which may be as large as a request
_PAGE_BYTES = 8 * 1024 * 1024  # of all turns read for one page
_TRIES = 100  # to delete an item of a turn of which others delete items too


class ConversationItems:
    """Methods raise ApiError: 404 for what is not the principal's, 503 while Redis is away."""

    def __init__(
        self, conversations: Conversations, lookup: Lookup, runs: Runs, keys: Keys, vault: Vault
    ) -> None:
        self._conversations = conversations
        self._lookup = lookup
        self._runs = runs
        self._keys = keys
        self._vault = vault
        self._compactions = Compactions(vault)

    async def neutral(self, items: Sequence[InputItem], principal: str) -> list[Item]:
        """The items as they are kept. Raises ApiError 400 for what cannot be, or could not be
        opened by the runs that are to see it."""
        for number, item in enumerate(items):
            where = f"items[{number}]"
            if isinstance(item, ItemReference):
                message = f"'{where}' is an item_reference: send the whole item."
                raise invalid(where, message, "unsupported_value")
            if is_trigger(item):
                message = f"'{where}' is a compaction_trigger: send it in 'input' of a response."
                raise invalid(where, message, "unsupported_value")
            check_item(where, item)
        kept = neutral(opened(items, self._vault, principal, "items"))
        await self._compactions.opened(kept, principal, items, "items")
        return kept

    async def add(self, conversation: str, principal: str, items: Sequence[Item]) -> list[ItemJson]:
        """Adds what the next run sees; a run that has the turn goes on without it."""
        run_id = new_run_id()
        now = created_ms(run_id)
        turn = Turn(run_id, asked_ms=now, ended_ms=now, items=[*items])
        if await self._runs.put_turn(conversation, principal, run_id, self._sealed(turn)) != "ok":
            raise no_conversation("conversation_id")
        return [value for _, value in items_of(turn)]

    async def page(
        self, conversation: str, principal: str, *, after: str | None, limit: int, order: Order
    ) -> dict[str, Any]:
        """A page of all items. Also after one that was deleted. It ends early when what was read
        for it is large.

        Raises ApiError 400 when none can have had the id `after`.
        """
        start = None if after is None else place_of(after)
        at, last = await self._around(conversation, principal, start and start[0])
        if after is not None and (start is None or at is None):
            raise invalid("after", f"'after' is the id of an item, and '{after[:100]}' is none.")
        is_up = order == "asc"
        if at is None:
            at = 0 if is_up else last
        found: list[ItemJson] = []
        more = min(limit, _AT_ONCE)
        room = _PAGE_BYTES
        while len(found) <= limit and 0 <= at <= last and (room > 0 or not found):
            ends = (at, min(at + more, last)) if is_up else (max(at - more, 0), at)
            turns, size = await self._turns(conversation, *ends, is_up=is_up)
            room -= size
            for turn in turns:
                rows = items_of(turn)
                for place, value in rows if is_up else reversed(rows):
                    if start is None or start[0] != turn.run_id or _passes(start[1], place, is_up):
                        found.append(value)
            at = ends[1] + 1 if is_up else ends[0] - 1
        is_cut = room <= 0 and 0 <= at <= last
        return listed(found[:limit], has_more=is_cut or len(found) > limit)

    async def get(self, conversation: str, principal: str, item_id: str) -> ItemJson:
        _, _, _, value = await self._find(conversation, principal, item_id)
        return value

    async def delete(self, conversation: str, principal: str, item_id: str) -> None:
        """Forgets an item; a run that has the turn may have seen it."""
        answer = "changed"
        for _ in range(_TRIES):
            was, turn, place, _ = await self._find(conversation, principal, item_id)
            sealed = self._sealed(without(turn, place))
            answer = await self._runs.put_turn(conversation, principal, turn.run_id, sealed, was)
            if answer == "ok":
                return
        if answer == "gone":
            raise no_conversation("conversation_id")
        message = "Others change the same items; try again."
        raise ApiError(409, message, code="conversation_busy", param="item_id")

    async def _find(
        self, conversation: str, principal: str, item_id: str
    ) -> tuple[bytes, Turn, Place, ItemJson]:
        """Its turn as it is stored and as it reads, its place there, and the item."""
        where = place_of(item_id)
        at, _ = await self._around(conversation, principal, where and where[0])
        if where is not None and at is not None:
            (stored,) = await self._lookup.ask(("LINDEX", self._keys.turns(conversation), at))
            turns = await self._opened([stored] if stored else [])
            for turn in turns:
                for place, value in items_of(turn):
                    if value["id"] == item_id:
                        return stored, turn, place, value
        message = f"Item with id '{item_id[:100]}' not found."
        raise ApiError(404, message, code="item_not_found", param="item_id")

    async def _around(
        self, conversation: str, principal: str, run_id: str | None
    ) -> tuple[int | None, int]:
        """The place of a run's turn, None without one, and of the last turn."""
        places = self._keys.places(conversation)
        ask = ("HGET", places, run_id or "")
        whose, count, known, place = await self._lookup.ask(
            ("HGET", self._keys.conversation(conversation), "principal"),
            ("LLEN", self._keys.turns(conversation)),
            ("HLEN", places),
            ask,
        )
        if whose is None or whose.decode() != principal:
            raise no_conversation("conversation_id")
        if run_id and place is None and known < count:
            await self._note_places(conversation, principal)
            (place,) = await self._lookup.ask(ask)
        return None if place is None else int(place), count - 1

    async def _note_places(self, conversation: str, principal: str) -> None:
        try:
            await self._conversations.note_places(conversation, principal)
        except (Unreadable, ValueError) as error:
            raise unreadable_conversation(error) from None

    async def _turns(
        self, conversation: str, first: int, last: int, *, is_up: bool
    ) -> tuple[Sequence[Turn], int]:
        """Some turns, and their size in bytes."""
        (stored,) = await self._lookup.ask(("LRANGE", self._keys.turns(conversation), first, last))
        turns = await self._opened(stored)
        return turns if is_up else turns[::-1], sum(map(len, stored))

    async def _opened(self, stored: Sequence[bytes]) -> list[Turn]:
        try:
            return await aside(
                sum(map(len, stored)),
                lambda: [decode_turn(self._vault.open(turn)) for turn in stored],
            )
        except (Unreadable, ValueError) as error:
            raise unreadable_conversation(error) from None

    def _sealed(self, turn: Turn) -> bytes:
        return self._vault.seal(encode_turn(turn))


def _passes(start: Place, place: Place, is_up: bool) -> bool:
    return place > start if is_up else place < start
