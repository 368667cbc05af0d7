from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import httpx
import orjson
import pytest

from tests.api.fake_answer import Reply
from tests.api.fake_gateway import (
    CONFIG,
    FakeBirths,
    FakeHub,
    FakeRuns,
    ScriptedChat,
    client,
    fake_targets,
)
from tests.api.fake_store import FakeStore
from tests.api.test_app import error
from tests.api.test_stored_responses import ANSWER, message, record
from trunkline_api.app import (
    CHAT_PATH,
    COMPACT_PATH,
    INPUT_TOKENS_PATH,
    RESPONSES_PATH,
    create_app,
)
from trunkline_api.auth import ApiKeys
from trunkline_api.compactions import Compactions
from trunkline_api.gateway import Gateway
from trunkline_api.hub import ReaderClosed
from trunkline_api.relay import Relay
from trunkline_api.routes.responses import responses_question
from trunkline_api.routes.stored_responses import stored_responses_router
from trunkline_api.settings import ApiSettings
from trunkline_api.tail import LogGone
from trunkline_api.wire.response_reply import ResponseObject
from trunkline_api.wire.responses import ResponsesRequest
from trunkline_shared.errors import Refused
from trunkline_shared.events import Attempt, Failed, Finished, TextDelta, Usage
from trunkline_shared.run import RunRequest

TEXTS: list[Any] = [
    [Attempt(1)],
    [TextDelta("hel")],
    [TextDelta("lo")],
    [Finished("stop", Usage())],
]


class Asked(Reply):
    """One request to the responses route."""

    path = RESPONSES_PATH
    question: ClassVar[dict[str, Any]] = {"input": "hi"}

    def __init__(self, *script: Any, store: FakeStore | None = None, **more: Any) -> None:
        self.store = store or FakeStore()
        self.parse = responses_question(self.store.stored, Compactions(self.store.vault))
        super().__init__(*script, **more)

    @property
    def run(self) -> RunRequest:
        [(run, _)] = self.follow.asked
        return run

    @property
    def record(self) -> bytes:
        [(_, admission)] = self.follow.asked
        return admission.record

    @property
    def events(self) -> list[Any]:
        blocks = [block for block in self.body.split(b"\n\n") if block.startswith(b"event: ")]
        return [orjson.loads(block.split(b"\ndata: ")[1]) for block in blocks]


async def ask(store: FakeStore, method: str, path: str, **more: Any) -> httpx.Response:
    settings = ApiSettings(api_key=("ana-key", "bob-key"))
    keys = ApiKeys.from_settings(settings)
    fakes = (FakeHub(), FakeRuns(), fake_targets(CONFIG), FakeBirths())
    gateway = Gateway(settings, CONFIG, keys, *fakes)
    paths = (CHAT_PATH, RESPONSES_PATH, COMPACT_PATH, INPUT_TOKENS_PATH)
    answers = {path: ScriptedChat() for path in paths}
    router = stored_responses_router(gateway, store.stored, FakeWatch())  # type: ignore[arg-type]
    app = create_app(gateway, answers, routers=(router,))
    headers = {"authorization": f"Bearer {more.pop('key', 'ana-key')}"}
    async with client(app) as http:
        return await http.request(method, path, headers=headers, **more)


class FakeWatch:
    """Knows no log."""

    @asynccontextmanager
    async def read(self, run_id: str, client: Any) -> AsyncIterator[Relay]:
        raise LogGone("gone")
        yield


OURS = record(principal="key-1")


async def test_a_whole_reply_is_the_response() -> None:
    reply = await Asked(*TEXTS).ask(stream=False)
    assert reply.status == 200
    response = orjson.loads(reply.body)
    ResponseObject.model_validate(response, strict=True)
    assert response["output"][0]["content"][0]["text"] == "hello"
    assert response["id"] == f"resp_{reply.run.run_id}"


async def test_a_stream_is_its_events() -> None:
    reply = await Asked(*TEXTS).ask()
    assert reply.headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    types = [event["type"] for event in reply.events]
    assert (types[0], types[-1]) == ("response.created", "response.completed")
    assert [event["sequence_number"] for event in reply.events] == list(range(len(types)))
    assert b"[DONE]" not in reply.body and reply.is_whole


@pytest.mark.parametrize("stream", [True, False])
async def test_a_failure_before_the_first_output_is_a_status(stream: bool) -> None:
    reply = await Asked([Attempt(1)], [Failed("upstream_error", "broke")]).ask(stream=stream)
    assert (reply.status, reply.error["code"]) == (502, "upstream_error")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("response_format", "text.format"),
        ("messages", "input"),
        ("max_completion_tokens", "max_output_tokens"),
        ("temperature", "temperature"),
        (None, None),
    ],
)
async def test_a_failure_names_the_member_as_this_api_does(
    stream: bool, said: str | None, named: str | None
) -> None:
    failed = Failed("invalid_request", "Not so.", param=said)
    reply = await Asked([Attempt(1)], [failed]).ask(stream=stream)
    assert (reply.status, reply.error["param"]) == (400, named)


async def test_a_failure_after_output_is_response_failed_and_nothing_else() -> None:
    reply = await Asked(TEXTS[1], [Failed("worker_lost", "gone")]).ask()
    assert reply.status == 200 and reply.is_whole
    assert reply.events[-1]["type"] == "response.failed"
    assert reply.body.count(b'"error":{') == 1


async def test_a_process_that_closes_ends_its_streams_with_response_failed() -> None:
    reply = await Asked(TEXTS[1], ReaderClosed(shutting_down=True)).ask()
    assert reply.events[-1]["type"] == "response.failed"


async def test_a_process_that_closes_lets_a_reader_come_back_to_a_run_that_goes_on() -> None:
    asked = Asked(TEXTS[1], ReaderClosed(shutting_down=True))
    asked.follow.relay.shared = True
    *_, last, error = (await asked.ask()).events
    assert (error["type"], error["code"]) == ("error", "api_draining")
    assert error["sequence_number"] == last["sequence_number"]


async def test_a_run_that_waits_is_told_of_and_kept_alive_by_comments() -> None:
    reply = await Asked(None, None, *TEXTS).ask()
    assert reply.body.startswith(b"event: response.created\n")
    assert b": hb\n\n" in reply.body
    assert not any(line.startswith((b"id:", b"retry:")) for line in reply.body.splitlines())


async def test_a_refusal_is_a_status() -> None:
    reply = await Asked(refusal=Refused("queue_full", "Full.", 2.5)).ask()
    assert (reply.status, reply.error["code"]) == (429, "queue_full")


async def test_what_is_stored_is_what_get_and_the_next_response_need() -> None:
    reply = await Asked(*TEXTS).ask(stream=False, instructions="Shout.", user="u")
    assert reply.run.store
    reply.store.submit(reply.run.run_id, reply.record)
    reply.store.finish(reply.run.run_id, *[event for [event] in TEXTS])
    response = orjson.loads(reply.body)
    found = await reply.store.stored.find(response["id"], "anonymous")
    assert found is not None
    assert found.record.input == [message("user", "hi")]
    follower = Asked(*TEXTS, store=reply.store)
    await follower.ask(previous_response_id=response["id"], input="more")
    assert follower.run.transcript == [
        message("user", "hi"),
        message("assistant", "hello"),
        message("user", "more"),
    ]
    assert follower.events[0]["response"]["previous_response_id"] == response["id"]


async def test_nothing_is_stored_of_those_who_do_not_want_it() -> None:
    reply = await Asked(*TEXTS).ask(store=False)
    assert (reply.run.store, reply.record) == (False, b"")
    assert reply.events[-1]["response"]["store"] is False


async def test_an_unknown_previous_response_is_400() -> None:
    reply = await Asked(*TEXTS).ask(previous_response_id="resp_nothing")
    assert (reply.status, reply.error["code"]) == (400, "previous_response_not_found")
    assert reply.error["param"] == "previous_response_id"


async def test_a_conversation_and_a_previous_response_exclude_each_other() -> None:
    reply = Asked(*TEXTS)
    reply.sent_headers.append((b"x-conversation-id", b"7f6d1d6c-7c1e-4f55-8d3f-2f7d2bb2a001"))
    await reply.ask(previous_response_id="resp_nothing")
    assert (reply.status, reply.error["param"]) == (400, "previous_response_id")


async def test_get_gives_the_response_as_it_was_replied() -> None:
    replied = await Asked(*TEXTS).ask(stream=False)
    run_id = replied.run.run_id
    replied.store.submit(run_id, replied.record)
    replied.store.finish(run_id, *[event for [event] in TEXTS])
    found = await replied.store.stored.find(f"resp_{run_id}", "anonymous")
    assert found is not None
    response = orjson.loads(replied.body)
    assert found.about.echo == {name: response[name] for name in found.about.echo}
    store = FakeStore()
    run_id = await store.respond(OURS, *ANSWER)
    got = await ask(store, "GET", f"/v1/responses/resp_{run_id}?beta=true&stream=false")
    assert got.headers["content-type"] == "application/json" and got.headers["x-request-id"]
    assert (got.json()["status"], got.json()["user"]) == ("completed", "u")
    assert got.json()["output"][0]["id"] == f"msg_{run_id}_0"


async def test_get_says_how_far_a_run_is_and_why_it_failed() -> None:
    store = FakeStore()
    running = await store.respond(OURS)
    got = (await ask(store, "GET", f"/v1/responses/resp_{running}")).json()
    assert (got["status"], got["output"], got["usage"]) == ("in_progress", [], None)
    failed = await store.respond(OURS, Failed("worker_lost", "It died."))
    got = (await ask(store, "GET", f"/v1/responses/resp_{failed}")).json()
    assert (got["status"], got["error"]["message"]) == ("failed", "It died.")


async def test_a_deleted_response_is_404_from_then_on() -> None:
    store = FakeStore()
    path = f"/v1/responses/resp_{await store.respond(OURS, *ANSWER)}"
    deleted = await ask(store, "DELETE", path)
    assert deleted.json() == {"id": path[14:], "object": "response", "deleted": True}
    for method in ("GET", "DELETE"):
        gone = await ask(store, method, path)
        assert (gone.status_code, error(gone)["code"]) == (404, "response_not_found")


async def test_others_and_those_without_a_key_learn_nothing() -> None:
    store = FakeStore()
    path = f"/v1/responses/resp_{await store.respond(OURS, *ANSWER)}"
    for method in ("GET", "DELETE"):
        assert (await ask(store, method, path, key="bob-key")).status_code == 404
        assert (await ask(store, method, path, key="nobody")).status_code == 401
    assert (await ask(store, "GET", path)).status_code == 200


async def test_without_its_log_a_stored_response_is_streamed_from_its_result() -> None:
    store = FakeStore()
    path = f"/v1/responses/resp_{await store.respond(OURS, *ANSWER)}?stream=true"
    reply = await ask(store, "GET", path)
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert b'"delta":"hello"' in reply.content and b"response.completed" in reply.content
    refused = await ask(store, "GET", f"{path}&starting_after=3")
    assert (refused.status_code, error(refused)["code"]) == (400, "stream_cursor_expired")


async def test_what_is_not_here_is_404() -> None:
    reply = await ask(FakeStore(), "POST", "/v1/responses/other")
    assert (reply.status_code, error(reply)["code"]) == (404, "unknown_url")


async def test_the_document_describes_all_of_it() -> None:
    document = (await ask(FakeStore(), "GET", "/openapi.json")).json()
    assert {"get", "delete"} == set(document["paths"]["/v1/responses/{response_id}"])
    operation = document["paths"]["/v1/responses"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    for example in examples.values():
        assert ResponsesRequest.model_validate_json(orjson.dumps(example["value"]))
    for path, name in ((COMPACT_PATH, "CompactRequest"), (INPUT_TOKENS_PATH, "InputTokensRequest")):
        operation = document["paths"][path]["post"]
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        assert body == {"$ref": f"#/components/schemas/{name}"}
        assert [*operation["responses"]["200"]["content"]] == ["application/json"]
    schemas = document["components"]["schemas"]
    assert set(schemas["ResponsesRequest"]["properties"]) == set(ResponsesRequest.model_fields)
    assert not [name for name in schemas if "__" in name]
