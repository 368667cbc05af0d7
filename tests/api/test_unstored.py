"""What one WebSocket knows of responses that are not stored."""

from typing import Any, cast

import orjson
import pytest

from trunkline_api.errors import ApiError
from trunkline_api.stored_runs import Record
from trunkline_api.unstored import UnstoredResponses
from trunkline_shared.keys import Keys
from trunkline_shared.transcript import Item, Message
from trunkline_shared.vault import Vault


class Nothing:
    """A Redis that holds nothing."""

    async def ask(self, *commands: Any) -> list[Any]:
        return [None for _ in commands]


def known(max_bytes: int = 1000) -> UnstoredResponses:
    return UnstoredResponses(cast(Any, Nothing()), Keys("t"), Vault(None), max_bytes=max_bytes)


def message(text: str) -> Item:
    return Message(type="message", role="user", content=[{"type": "text", "text": text}])


def asked(*texts: str) -> bytes:
    return orjson.dumps([message(text) for text in texts])


async def items(responses: UnstoredResponses, response: str) -> list[Item]:
    return (await responses.history(response, "me")).items


async def missing(responses: UnstoredResponses, response: str) -> str | None:
    with pytest.raises(ApiError) as error:
        await responses.history(response, "me")
    return error.value.code


async def test_the_last_of_each_lane_is_known_with_all_that_came_before() -> None:
    responses = known()
    responses.keep(None, "resp_1", asked("a"), [message("b")])
    responses.keep("fork", "resp_2", asked("a", "b", "c"), [])
    assert await items(responses, "resp_1") == [message("a"), message("b")]
    assert len(await items(responses, "resp_2")) == 3
    responses.keep(None, "resp_3", asked("d"), [])
    assert await missing(responses, "resp_1") == "previous_response_not_found"
    assert await items(responses, "resp_3") == [message("d")]


async def test_beyond_so_many_bytes_the_oldest_are_forgotten() -> None:
    one = len(asked("a" * 100)) + 2
    responses = known(max_bytes=2 * one)
    for lane in ("a", "b", "c"):
        responses.keep(lane, f"resp_{lane}", asked("a" * 100), [])
    assert await missing(responses, "resp_a") == "previous_response_not_found"
    assert await items(responses, "resp_c")
    responses.keep("huge", "resp_huge", asked("a" * 1000), [])
    assert await missing(responses, "resp_huge") == "previous_response_not_found"


async def test_what_is_stored_after_one_that_is_not_stands_for_itself() -> None:
    responses = known()
    responses.keep(None, "resp_1", asked("a"), [message("b")])
    record = Record("me", "echo", {}, [message("c")], previous="resp_1")
    stored = orjson.loads(Vault(None).unpack(await responses.seal(record)))
    assert stored["previous"] is None
    assert stored["input"] == [message("a"), message("b"), message("c")]
    other = Record("me", "echo", {}, [message("c")], previous="resp_0")
    stored = orjson.loads(Vault(None).unpack(await responses.seal(other)))
    assert (stored["previous"], stored["input"]) == ("resp_0", [message("c")])
