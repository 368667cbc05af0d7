"""What is told of a run whose events are gone; all else is in tests/flow/test_idempotency.py."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import orjson
import pytest

from tests.api.fake_gateway import AGENTS
from trunkline_api.errors import ApiError
from trunkline_api.exchange import Exchange
from trunkline_api.idempotency import IdempotencyKey, Known
from trunkline_api.once import Once
from trunkline_api.relay import Relay
from trunkline_api.routes.chat import chat_question
from trunkline_api.settings import ApiSettings
from trunkline_api.submission import Admission
from trunkline_api.tail import LogGone
from trunkline_shared.events import Failed, Finished, TextDelta
from trunkline_shared.fold import Fold, encode
from trunkline_shared.keys import Keys
from trunkline_shared.run import RunRequest, new_run_id
from trunkline_shared.vault import Vault

RUN_ID = new_run_id(1_700_000_000_123)
CONVERSATION = "0b9cbd31-74e4-4e0f-a97c-0f4cbb8ba5f5"
VAULT = Vault("a secret key of thirty-two bytes")


class FakeRuns:
    """Knows a run under every key."""

    async def submit(self, request: RunRequest, admission: Admission) -> Known:
        assert request.reply == "" and request.store and admission.key is not None
        return Known(RUN_ID, CONVERSATION)


class FakeWatch:
    """Has no log any more."""

    @asynccontextmanager
    async def read(self, run_id: str, client: Any, *, as_asked: bool) -> AsyncIterator[Relay]:
        assert (run_id, as_asked) == (RUN_ID, True)
        raise LogGone("gone")
        yield


class FakeLookup:
    def __init__(self, result: bytes | None) -> None:
        self.result = result

    async def ask(self, command: tuple[str, str]) -> list[Any]:
        assert command == ("GET", Keys().result(RUN_ID))
        return [self.result]


def result(*events: Any) -> bytes:
    fold = Fold()
    fold.add(1, events)
    return VAULT.seal(encode(fold.result()))


async def told(stored: bytes | None, *, stream: bool = False) -> tuple[Exchange, bytes]:
    """What is noted of the exchange, and the reply's body."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    fakes = cast(Any, (FakeRuns(), FakeWatch(), None, FakeLookup(stored)))
    once = Once(ApiSettings(), *fakes, Keys(), VAULT)
    body = {"model": "echo", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    question = chat_question(cast(Any, None))(orjson.dumps(body), {})
    run, exchange = RunRequest(new_run_id(), "echo", reply="back", stream=stream), Exchange("req")
    admission = Admission(AGENTS["echo"], key=IdempotencyKey("p:k", "d"))
    following, reply = await once.ask(question, run, admission, cast(Any, None), send, exchange)
    async with following as found:
        await reply.tell(found)
    return exchange, sent[1]["body"]


@pytest.mark.parametrize("stream", [True, False])
async def test_the_result_is_told_as_that_of_the_run_that_is_known(stream: bool) -> None:
    exchange, body = await told(result(TextDelta("Hello"), Finished("stop")), stream=stream)
    assert f"chatcmpl-{RUN_ID}".encode() in body and b"Hello" in body
    assert body.endswith(b"data: [DONE]\n\n") == stream
    assert (exchange.run_id, exchange.conversation) == (RUN_ID, CONVERSATION)
    assert b"idempotency-replayed" in dict(exchange.begin(200, []))


@pytest.mark.parametrize("stream", [True, False])
async def test_a_failure_is_told_with_the_advice_not_to_ask_again(stream: bool) -> None:
    with pytest.raises(ApiError) as caught:
        await told(result(Failed("upstream_error", "It broke.")), stream=stream)
    assert (caught.value.status, caught.value.headers["x-should-retry"]) == (502, "false")


async def test_what_is_gone_is_an_error_that_names_the_header() -> None:
    with pytest.raises(ApiError) as caught:
        await told(None)
    assert (caught.value.status, caught.value.param) == (409, "Idempotency-Key")


@pytest.mark.parametrize(
    "stored",
    [Vault("another key of thirty-two bytes").seal(b"{}"), VAULT.seal(b'{"v":99}')],
    ids=["another's", "later"],
)
async def test_what_cannot_be_read_is_an_error_too(stored: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        await told(stored)
    assert (caught.value.status, caught.value.code) == (500, "server_error")
