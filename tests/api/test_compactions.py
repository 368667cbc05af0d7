from typing import Any

import orjson
import pytest

from tests.api.test_stored_responses import message
from trunkline_api.compactions import Compactions
from trunkline_api.errors import ApiError
from trunkline_shared.compaction_seal import Compaction, seal
from trunkline_shared.transcript import Item
from trunkline_shared.vault import Vault

SUMMARY = [message("system", "Be brief."), message("user", "so far")]
OURS = Compactions(Vault("secret"))


def item(content: Any, **more: Any) -> Item:
    value = {"type": "compaction", "encrypted_content": content, **more}
    return {"type": "opaque", "origin": "responses", "value": value}


async def test_it_opens_in_its_place_for_whom_it_was_sealed() -> None:
    sealed = item(OURS.seal(SUMMARY, "ana"), id="cmp_1")
    before, after = message("user", "before"), message("user", "after")
    opened = await OURS.opened([before, sealed, after], "ana")
    assert opened == [before, *SUMMARY, after]


async def test_a_long_one_opens_too() -> None:
    long = [message("user", "x" * 100_000)]
    assert await OURS.opened([item(OURS.seal(long, "ana"))], "ana") == long


async def test_one_that_stands_for_all_before_it_takes_its_place() -> None:
    whole = item(seal(Vault("secret"), Compaction(SUMMARY, whole=True), "ana"))
    assert await OURS.opened([message("user", "old"), whole, *SUMMARY], "ana") == [*SUMMARY] * 2


async def test_items_of_other_types_stay_as_they_are() -> None:
    other: Item = {"type": "opaque", "origin": "responses", "value": {"type": "shell_call"}}
    assert await OURS.opened([other], "ana") == [other]


async def test_what_an_earlier_key_sealed_still_opens() -> None:
    rotated = Compactions(Vault("new", ["secret"]))
    assert await rotated.opened([item(OURS.seal(SUMMARY, "ana"))], "ana") == SUMMARY


def sealed_else(value: Any) -> str:
    return "tlc1." + Vault("secret").seal(orjson.dumps(value)).decode()


@pytest.mark.parametrize(
    "content",
    [
        OURS.seal(SUMMARY, "bob"),
        Compactions(Vault("another")).seal(SUMMARY, "ana"),
        OURS.seal(SUMMARY, "ana").removeprefix("tlc1."),
        OURS.seal(SUMMARY, "ana")[:-3],
        'tlc1.{"kind": "compaction", "principal": "ana", "items": []}',
        sealed_else({"principal": "ana", "whole": False, "items": []}),
        sealed_else(["compaction"]),
        "tlc1.gAAAAæ",
        "tlc1.",
        "",
        None,
        7,
    ],
)
async def test_anything_else_is_refused_by_its_place(content: Any) -> None:
    broken = item(content)
    sent = ["hi", broken["value"]]  # type: ignore[typeddict-item]
    with pytest.raises(ApiError) as caught:
        await OURS.opened([broken], "ana", sent)
    assert (caught.value.status, caught.value.param) == (400, "input[1].encrypted_content")
    with pytest.raises(ApiError) as caught:
        await OURS.opened([broken], "ana", "text")
    assert caught.value.param == "previous_response_id"


async def test_without_a_key_nothing_is_sealed_and_nothing_opens() -> None:
    keyless = Compactions(Vault(None))
    for refused in (keyless.check, lambda: keyless.seal(SUMMARY, "ana")):
        with pytest.raises(ApiError, match="TRUNKLINE_SECRET_KEY") as caught:
            refused()
        assert (caught.value.status, caught.value.code) == (400, "no_secret_key")
    with pytest.raises(ApiError):
        await keyless.opened([item(OURS.seal(SUMMARY, "ana"))], "ana")
