"""What pages cost, and what becomes of those that cannot be read."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from tests.api.conversation_bed import CONVERSATION, ConversationBed, message
from trunkline_api.compactions import Compactions
from trunkline_api.conversation_items import ConversationItems
from trunkline_api.errors import ApiError
from trunkline_api.kept_reasoning import seal_of
from trunkline_api.lookup import Lookup
from trunkline_api.wire.response_items import InputItem
from trunkline_shared.conversation import Turn
from trunkline_shared.output_items import OutputItem, OutputPart
from trunkline_shared.run import new_run_id
from trunkline_shared.vault import Vault

pytestmark = pytest.mark.redis

COUNT = 500


class CountingVault(Vault):
    opened = 0

    def open(self, sealed: bytes) -> bytes:
        self.opened += 1
        return super().open(sealed)


@pytest.fixture
async def bed(redis_url: str) -> AsyncIterator[ConversationBed]:
    async with ConversationBed(redis_url) as bed:
        yield bed


def items_over(bed: ConversationBed, vault: Vault) -> ConversationItems:
    lookup = Lookup(bed.pipe, patience_s=5.0)
    return ConversationItems(bed.conversations, lookup, bed.runs, bed.keys, vault)


def turn(number: int, **more: Any) -> Turn:
    items: list[Any] = [message("user", f"{number}?")]
    return Turn(new_run_id(), items=items, said=[message("assistant", f"{number}!")], **more)


async def page(items: ConversationItems, **query: Any) -> dict[str, Any]:
    query = {"after": None, "limit": 20, "order": "desc", **query}
    return await items.page(CONVERSATION, "key-1", **query)


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_page_opens_no_more_turns_than_it_may_have_items(
    bed: ConversationBed, order: str
) -> None:
    turns = [turn(number) for number in range(COUNT)]
    await bed.write(turns=turns)
    await bed.conversations.note_places(CONVERSATION, "key-1")
    vault = CountingVault("a secret key")
    items = items_over(bed, vault)
    middle = f"msg_{turns[COUNT // 2].run_id}_0"
    for after in (None, middle):
        vault.opened = 0
        found = await page(items, after=after, order=order)
        assert len(found["data"]) == 20 and found["has_more"]
        assert vault.opened <= 21
    vault.opened = 0
    item = await items.get(CONVERSATION, "key-1", middle)
    assert item["content"][0]["text"] == f"{COUNT // 2}!" and vault.opened == 1


async def test_turns_that_failed_are_passed_over(bed: ConversationBed) -> None:
    failed = [turn(number, outcome="cancelled") for number in range(60)]
    await bed.write(turns=[turn(-1), *failed, turn(61)])
    found = await page(items_over(bed, bed.vault), limit=3)
    texts = [item["content"][0]["text"] for item in found["data"]]
    assert (texts, found["has_more"]) == (["61!", "61?", "-1!"], True)


@pytest.mark.parametrize("after", ["msg_x", f"msg_a{7:027x}_0"])
async def test_no_page_comes_after_what_is_no_item(bed: ConversationBed, after: str) -> None:
    await bed.write(turns=[turn(1)])
    with pytest.raises(ApiError) as caught:
        await page(items_over(bed, bed.vault), after=after)
    assert (caught.value.status, caught.value.param) == (400, "after")


async def test_what_another_key_sealed_is_409(bed: ConversationBed) -> None:
    await bed.write(turns=[turn(1)])
    with pytest.raises(ApiError) as caught:
        await page(items_over(bed, Vault("another key")))
    assert (caught.value.status, caught.value.code) == (409, "conversation_unreadable")


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_page_of_large_turns_ends_early_and_the_next_ones_have_the_rest(
    bed: ConversationBed, order: str
) -> None:
    large = message("user", "x" * 400 * 1024)
    await bed.write(turns=[Turn(new_run_id(), items=[large]) for _ in range(40)])
    await bed.conversations.note_places(CONVERSATION, "key-1")
    items = items_over(bed, Vault("a secret key"))
    pages = [await page(items, order=order, limit=100)]
    while pages[-1]["has_more"]:
        pages.append(await page(items, order=order, limit=100, after=pages[-1]["last_id"]))
    assert [len(each["data"]) for each in pages] == [17, 16, 7]


@pytest.mark.parametrize("kind", ["compaction", "reasoning"])
async def test_what_was_sealed_for_somebody_else_is_not_added(
    bed: ConversationBed, kind: str
) -> None:
    vault = Vault("a secret key")
    items = items_over(bed, vault)
    (theirs,) = TypeAdapter(list[InputItem]).validate_python([sealed(kind, vault, "key-2")])
    (mine,) = TypeAdapter(list[InputItem]).validate_python([sealed(kind, vault, "key-1")])
    (kept,) = await items.neutral([mine], "key-1")
    assert kept["type"] == {"compaction": "opaque"}.get(kind, kind)
    with pytest.raises(ApiError) as caught:
        await items.neutral([mine, theirs], "key-1")
    assert (caught.value.status, caught.value.param) == (400, "items[1].encrypted_content")


def sealed(kind: str, vault: Vault, principal: str) -> dict[str, Any]:
    if kind == "compaction":
        return {"type": kind, "encrypted_content": Compactions(vault).seal([], principal)}
    seal = seal_of(vault, principal)
    assert seal is not None
    thought = OutputItem("reasoning", parts=(OutputPart("reasoning", "hm"),))
    return {"type": kind, "summary": [], "encrypted_content": seal(thought)}
