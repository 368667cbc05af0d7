"""openai-python under an Idempotency-Key: its own retries, and a caller who asks again."""

from typing import Any
from uuid import uuid4

import httpx2
import openai
import pytest

from tests.clients.conftest import API_KEY
from tests.clients.test_responses_python import HELLO, last
from tests.fakes.system import System
from tests.fakes.upstream import words

HEADER = "Idempotency-Key"
MESSAGES: Any = [{"role": "user", "content": "Hello"}]


class Cut(httpx2.BaseTransport):
    """Loses the first reply when all of it has come."""

    def __init__(self) -> None:
        self._network = httpx2.HTTPTransport()
        self.headers: list[httpx2.Headers] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = self._network.handle_request(request)
        self.headers.append(response.headers)
        if len(self.headers) == 1:
            response.read()
            raise httpx2.ReadError("the connection broke", request=request)
        return response

    def close(self) -> None:
        self._network.close()


class Keyed(openai.OpenAI):
    """Sends a key of its own with each call, the same with each retry of it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._idempotency_header = HEADER


def key() -> dict[str, str]:
    return {HEADER: str(uuid4())}


def test_a_call_that_is_repeated_has_the_same_reply(client: openai.OpenAI, system: System) -> None:
    about: Any = {"model": "words-3", "messages": MESSAGES, "extra_headers": key()}
    first = client.chat.completions.create(**about)
    raw = client.chat.completions.with_raw_response.create(**about)
    assert raw.headers["idempotency-replayed"] == "true"
    assert raw.parse() == first
    assert len(system.upstream.requests()) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_the_clients_own_retry_is_told_of_the_same_run(system: System, stream: bool) -> None:
    cut = Cut()
    with Keyed(
        base_url=system.base_url(),
        api_key=API_KEY,
        max_retries=1,
        http_client=openai.DefaultHttpxClient(transport=cut),
    ) as client:
        about: Any = {"model": "words-3", "messages": MESSAGES, "extra_headers": key()}
        if stream:
            with client.chat.completions.stream(**about) as told:
                completion: Any = told.get_final_completion()
        else:
            completion = client.chat.completions.create(**about)
        response = client.responses.create(model="words-3", input=HELLO)
    assert completion.choices[0].message.content == words(3) == response.output_text
    assert ["idempotency-replayed" in each for each in cut.headers] == [False, True, False]
    assert len(system.upstream.requests()) == 2


def test_another_request_under_the_key_is_an_error(client: openai.OpenAI) -> None:
    headers = key()
    client.responses.create(model="words-3", input=HELLO, extra_headers=headers)
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.responses.create(model="words-3", input="Other", extra_headers=headers)
    assert (caught.value.code, caught.value.param) == ("idempotency_key_reused", HEADER)


def test_a_failure_is_not_retried_in_vain(client: openai.OpenAI, system: System) -> None:
    retrying = client.with_options(max_retries=2)
    with pytest.raises(openai.InternalServerError):
        retrying.chat.completions.create(
            model="error-first", messages=MESSAGES, extra_headers=key()
        )
    assert len(system.upstream.requests()) == 2  # the worker's own retry is one of them


def test_a_stream_of_events_is_the_same_again(client: openai.OpenAI) -> None:
    about: Any = {"model": "words-3", "input": HELLO, "stream": True, "extra_headers": key()}
    events = [[*client.responses.create(**about)] for _ in range(2)]
    assert events[0] == events[1]
    assert last(events[0]).output_text == words(3)
