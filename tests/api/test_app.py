import logging
from typing import Any

import httpx
import orjson
import pytest

from tests.api.fake_gateway import FakeHub, FakeRuns, application, client
from trunkline_api.app import Application
from trunkline_api.errors import Send
from trunkline_api.exchange import Receive, Scope
from trunkline_api.wire.chat import ChatRequest

ENVELOPE = {"message", "type", "param", "code"}


async def ask(app: Application, method: str, path: str, **more: Any) -> httpx.Response:
    async with client(app) as http:
        return await http.request(method, path, **more)


def error(reply: httpx.Response) -> dict[str, Any]:
    assert reply.headers["content-type"] == "application/json"
    body = orjson.loads(reply.content)
    assert set(body) == {"error"}
    assert set(body["error"]) == ENVELOPE
    found: dict[str, Any] = body["error"]
    return found


async def test_models_are_the_agents_in_their_order() -> None:
    reply = await ask(application(), "GET", "/v1/models")
    able = dict.fromkeys(("tools", "sampling", "images", "files", "audio"), True)
    unable = {"formats": False, "logprobs": False, "refused": []}
    about = {"type": "echo", "capabilities": able | unable}
    assert reply.json() == {
        "object": "list",
        "data": [
            {
                "id": "echo",
                "object": "model",
                "created": 1767225600,
                "owned_by": "trunkline",
                "description": "Says it again.",
                "trunkline": about,
            },
            {
                "id": "team/coder:v2",
                "object": "model",
                "created": 1767225600,
                "owned_by": "trunkline",
                "trunkline": about,
            },
        ],
    }


@pytest.mark.parametrize("spelled", ["team/coder:v2", "team%2Fcoder%3Av2", "team%2fcoder:v2"])
async def test_a_model_is_found_however_its_id_is_spelled(spelled: str) -> None:
    reply = await ask(application(), "GET", f"/v1/models/{spelled}")
    assert reply.json()["id"] == "team/coder:v2"


@pytest.mark.parametrize("unknown", ["nobody", "", "echo/", "team", "x" * 4000, "%00"])
async def test_an_unknown_model_is_404(unknown: str) -> None:
    reply = await ask(application(), "GET", f"/v1/models/{unknown}")
    assert reply.status_code == 404
    assert error(reply)["code"] == "model_not_found"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/echo"])
async def test_models_want_a_key_where_there_is_one(path: str) -> None:
    app = application(api_key=("k",))
    refused = await ask(app, "GET", path)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert error(refused)["code"] == "invalid_api_key"
    for headers in ({"authorization": "Bearer k"}, {"x-session-api-key": "k"}):
        assert (await ask(app, "GET", path, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "unknown_url"),
        ("GET", "/v1", 404, "unknown_url"),
        ("POST", "/v1/completions", 404, "unknown_url"),
        ("POST", "/v1/chat/completions/", 404, "unknown_url"),
        ("GET", "/v1/chat/completions", 405, "method_not_supported"),
        ("DELETE", "/v1/models/echo", 405, "method_not_supported"),
        ("POST", "/health", 405, "method_not_supported"),
    ],
)
async def test_unknown_routes_and_methods_answer_in_the_envelope(
    method: str, path: str, status: int, code: str
) -> None:
    reply = await ask(application(), method, path)
    assert reply.status_code == status
    assert error(reply)["code"] == code
    if status == 405:
        assert reply.headers["allow"]


@pytest.mark.parametrize("path", ["/v1/models", "/nowhere", "/alive", "/health", "/docs"])
async def test_every_reply_has_a_request_id_of_its_own(path: str) -> None:
    app = application()
    first, second = [
        (await ask(app, "GET", path, headers={"x-client-request-id": "mine"})).headers
        for _ in range(2)
    ]
    assert first["x-request-id"].startswith("req_")
    assert first["x-request-id"] != second["x-request-id"]


@pytest.mark.parametrize(
    ("runs", "hub", "draining", "expected"),
    [
        (FakeRuns(), FakeHub(), False, {"alive": 200, "health": 200, "ready": 200}),
        (FakeRuns(redis=False), FakeHub(), False, {"alive": 200, "health": 503, "ready": 503}),
        (FakeRuns(worker=False), FakeHub(), False, {"alive": 200, "health": 200, "ready": 503}),
        (FakeRuns(), FakeHub(ready=False), False, {"alive": 200, "health": 200, "ready": 503}),
        (FakeRuns(), FakeHub(), True, {"alive": 200, "health": 503, "ready": 503}),
    ],
)
async def test_health_tells_what_is_missing_without_a_key(
    runs: FakeRuns, hub: FakeHub, draining: bool, expected: dict[str, int]
) -> None:
    app = application(runs=runs, hub=hub, api_key=("k",))
    if draining:
        app.gateway.shutdown.draining.set()
    for name, status in expected.items():
        reply = await ask(app, "GET", f"/{name}")
        assert reply.status_code == status
        if status == 200:
            assert reply.json() == {"status": "ready" if name == "ready" else "ok"}
        assert (await ask(app, "HEAD", f"/{name}")).status_code == status
        if status == 503:
            assert error(reply)["code"]
            assert reply.headers["retry-after"] == "1"


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("the secret of the house")


async def test_a_route_that_breaks_answers_500_without_internals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reply = await ask(application(broken), "POST", "/v1/chat/completions")
    assert reply.status_code == 500
    assert error(reply)["code"] == "server_error"
    assert "secret" not in reply.text
    assert reply.headers["x-request-id"] in reply.text
    assert any(record.exc_info for record in caplog.records)


async def test_a_route_that_breaks_inside_fastapi_answers_500_once() -> None:
    class Broken(FakeRuns):
        async def redis_alive(self) -> bool:
            raise RuntimeError("the secret of the house")

    reply = await ask(application(runs=Broken()), "GET", "/health")
    assert reply.status_code == 500
    assert error(reply)["code"] == "server_error"
    assert "secret" not in reply.text


async def test_every_request_is_one_log_line_without_content(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "trunkline_api")
    app = application(api_key=("sk-secret",))
    headers = {"authorization": "Bearer sk-secret", "x-client-request-id": "c" * 500}
    reply = await ask(app, "GET", "/v1/models/echo?q=private", headers=headers)
    [record] = [record for record in caplog.records if record.message == "request"]
    fields: dict[str, Any] = record.__dict__["fields"]
    assert fields.pop("duration_ms") >= 0
    assert {name: value for name, value in fields.items() if value is not None} == {
        "method": "GET",
        "path": "/v1/models/echo",
        "status": 200,
        "principal": "key-1",
        "request_id": reply.headers["x-request-id"],
        "client_request_id": "c" * 128,
    }


async def test_without_the_setting_there_is_no_cors() -> None:
    reply = await ask(application(), "GET", "/v1/models", headers={"origin": "https://a.example"})
    assert not [name for name in reply.headers if name.startswith("access-control")]


PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,x-stainless-os,x-trunkline-events",
}


async def test_named_origins_may_call_and_others_may_not() -> None:
    app = application(cors_origins=("https://a.example",))
    good, bad = {"origin": "https://a.example"}, {"origin": "https://b.example"}
    reply = await ask(app, "GET", "/v1/models", headers=good)
    assert reply.headers["access-control-allow-origin"] == "https://a.example"
    assert "x-request-id" in reply.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in reply.headers
    other = await ask(app, "GET", "/v1/models", headers=bad)
    assert "access-control-allow-origin" not in other.headers
    path = "/v1/chat/completions"
    asked = await ask(app, "OPTIONS", path, headers=good | PREFLIGHT)
    assert asked.status_code == 200
    allowed = asked.headers["access-control-allow-headers"]
    assert "x-stainless-os" in allowed and "x-trunkline-events" in allowed
    refused = await ask(app, "OPTIONS", path, headers=bad | PREFLIGHT)
    assert refused.status_code == 400
    assert error(refused)["code"] == "cors_not_allowed"
    assert refused.headers["x-request-id"]


async def test_a_star_is_every_origin_without_credentials() -> None:
    app = application(cors_origins=("*",))
    reply = await ask(app, "POST", "/nowhere", headers={"origin": "https://a.example"})
    assert reply.status_code == 404
    assert reply.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in reply.headers


async def test_the_document_describes_the_chat_route_and_all_others() -> None:
    document = (await ask(application(), "GET", "/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert list(document["paths"]) == [
        "/v1/chat/completions",
        "/v1/models",
        "/v1/models/{model}",
        "/alive",
        "/health",
        "/ready",
        "/server_info",
    ]
    chat = document["paths"]["/v1/chat/completions"]["post"]
    assert {"200", "400", "401", "404", "413", "429", "503"} <= set(chat["responses"])
    body = chat["requestBody"]["content"]["application/json"]
    for example in body["examples"].values():
        assert ChatRequest.model_validate_json(orjson.dumps(example["value"])).model == "echo"
    request = document["components"]["schemas"]["ChatRequest"]
    assert set(request["properties"]) == set(ChatRequest.model_fields)
    assert request["required"] == ["messages", "model"]


async def test_every_reference_of_the_document_leads_somewhere() -> None:
    document = (await ask(application(), "GET", "/openapi.json")).json()
    found = set(_references(document))
    assert found
    assert {name.removeprefix("#/components/schemas/") for name in found} == set(
        document["components"]["schemas"]
    )
    described = {path for path, each in document["paths"].items() if "'422'" in str(each)}
    assert described == {"/v1/chat/completions"}  # and none of FastAPI's own


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [name for inner in value.values() for name in _references(inner)]
    if isinstance(value, list):
        return [name for inner in value for name in _references(inner)]
    return []


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_the_reference_page_loads_nothing_from_elsewhere(path: str) -> None:
    reply = await ask(application(), "GET", path)
    assert reply.headers["content-type"].startswith("text/html")
    assert "http://" not in reply.text
    assert "https://" not in reply.text
    assert "src=" not in reply.text
    assert "default-src 'none'" in reply.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
async def test_the_reference_can_be_switched_off(path: str) -> None:
    reply = await ask(application(docs=False), "GET", path)
    assert reply.status_code == 404
    assert error(reply)["code"] == "unknown_url"


async def test_chat_goes_to_its_route_and_carries_a_request_id() -> None:
    reply = await ask(
        application(),
        "POST",
        "/v1/chat/completions",
        json={"model": "echo", "messages": [{"role": "user", "content": "hi"}]},
    )
    assert reply.json()["choices"][0]["message"]["content"] == "Hello"
    assert reply.headers["x-request-id"]
