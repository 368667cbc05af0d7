"""openai-python on reasoning: as a summary, and sealed for clients that keep it themselves."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.clients.test_responses_python import HELLO, last, streamed
from tests.fakes.system import System, upstream_agent
from tests.fakes.upstream_process import UpstreamProcess

ENCRYPTED: Any = ["reasoning.encrypted_content"]
KEYS = ("ana-key", "bob-key")


class ResponsesProcess(UpstreamProcess):
    module = "tests.fakes.responses"


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[openai.OpenAI]]:
    """Ana's and Bob's. `summed` tells its reasoning in summaries, `raw` says what it thinks."""
    directory = tmp_path_factory.mktemp("reasoning")
    provider = ResponsesProcess(directory / "responses.log", {})
    summed: dict[str, Any] = {"model": "openai:gpt-5-reasoning", "api": "responses"}
    summed |= {"base_url": provider.base_url, "api_key": "x"}
    agents = {"raw": upstream_agent("reasoning"), "summed": summed}
    settings = {"secret_key": "one for all"}
    try:
        with System(directory, {"agents": agents}, settings=settings, api_keys=KEYS) as system:
            yield [
                openai.OpenAI(
                    base_url=system.base_url(),
                    api_key=key,
                    max_retries=0,
                    _strict_response_validation=True,
                )
                for key in KEYS
            ]
    finally:
        provider.stop()


def test_a_summary_is_streamed_as_one(clients: list[openai.OpenAI]) -> None:
    wanted: Any = {"model": "summed", "reasoning": {"effort": "low", "summary": "auto"}}
    events = streamed(clients[0], **wanted)
    pieces = [e.delta for e in events if e.type == "response.reasoning_summary_text.delta"]
    assert "".join(pieces) == "Let me think."
    assert not [event for event in events if event.type.startswith("response.reasoning_text")]
    final = last(events)
    reasoning = final.output[0]
    assert reasoning.type == "reasoning" and not reasoning.content
    assert [part.text for part in reasoning.summary] == ["Let me think."]
    assert final.reasoning is not None and final.reasoning.summary == "auto"
    assert clients[0].responses.retrieve(final.id).output == final.output
    replayed = [*clients[0].responses.retrieve(final.id, stream=True)]
    assert replayed == events


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_keeps_all_itself_sends_reasoning_back_sealed(
    clients: list[openai.OpenAI], stream: bool
) -> None:
    wanted: Any = {"model": "raw", "input": HELLO, "store": False, "include": ENCRYPTED}
    if stream:
        reply = last(streamed(clients[0], **wanted))
    else:
        reply = clients[0].responses.create(**wanted)
    reasoning, message = reply.output
    assert reasoning.type == "reasoning" and message.type == "message"
    sealed: Any = {"type": "reasoning", "summary": []}
    sealed["encrypted_content"] = reasoning.encrypted_content
    history: Any = [{"role": "user", "content": HELLO}, sealed, message.to_dict()]
    history.append({"role": "user", "content": "more"})
    about: Any = {"model": "raw", "input": history, "store": False}
    assert clients[0].responses.create(**about).output_text == "Done thinking"
    with pytest.raises(openai.BadRequestError) as caught:
        clients[1].responses.create(**about)
    assert caught.value.param == "input[1].encrypted_content"
    assert caught.value.code == "invalid_encrypted_content"


def test_replays_have_the_same_seal(clients: list[openai.OpenAI]) -> None:
    events = streamed(clients[0], model="raw", include=ENCRYPTED)
    response = last(events)
    assert [*clients[0].responses.retrieve(response.id, stream=True)] == events
    assert clients[0].responses.retrieve(response.id).output == response.output
    plain = clients[0].responses.create(model="raw", input=HELLO)
    asked = clients[0].responses.retrieve(plain.id, include=ENCRYPTED).output
    for item, is_sealed in ((plain.output[0], False), (asked[0], True)):
        assert item.type == "reasoning" and bool(item.encrypted_content) == is_sealed
    [item, _] = response.output
    assert item.type == "reasoning" and (item.encrypted_content or "").startswith("tlr1_")
