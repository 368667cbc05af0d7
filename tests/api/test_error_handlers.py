"""What goes wrong under /api, as OpenHands' clients read it and as OpenAI's do."""

from typing import Any

import pytest
from fastapi import APIRouter

from tests.api.fake_gateway import application, client
from trunkline_api.app import Application
from trunkline_api.errors import ApiError, from_failure
from trunkline_shared.errors import RedisUnavailable, Refused
from trunkline_shared.events import Failed
from trunkline_shared.vault import Unreadable

ENVELOPE = {"message", "type", "param", "code"}
BROKEN: dict[str, Exception] = {
    "gone": ApiError(404, "Profile 'x' not found", code="profile_not_found"),
    "failed": from_failure(Failed("upstream_error", "It failed.")),
    "refused": Refused("queue_full", "Full.", 3.0),
    "redis": RedisUnavailable("no answer"),
    "sealed": Unreadable("TRUNKLINE_SECRET_KEY is not the key"),
    "bug": RuntimeError("with a secret"),
}


def app_with_routes(**settings: Any) -> Application:
    router = APIRouter(prefix="/api/things")

    @router.get("")
    async def things() -> dict[str, str]:
        return {"things": "all"}

    @router.get("/numbers/{number}")
    async def number(number: int) -> int:
        return number

    @router.get("/{name}")
    async def thing(name: str) -> None:
        raise BROKEN[name]

    return application(routers=(router,), **settings)


async def ask(method: str, path: str, app: Application | None = None) -> Any:
    async with client(app or app_with_routes()) as http:
        return await http.request(method, path)


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "detail"),
    [
        ("GET", "/api", 404, "unknown_url", "Not Found"),
        ("GET", "/api/nothing", 404, "unknown_url", "Not Found"),
        ("PATCH", "/api/things/x", 405, "method_not_supported", "Method Not Allowed"),
        ("GET", "/api/things/gone", 404, "profile_not_found", "Profile 'x' not found"),
        ("GET", "/api/things/failed", 502, "upstream_error", "It failed."),
        ("GET", "/api/things/refused", 429, "queue_full", "Full."),
        (
            "GET",
            "/api/things/sealed",
            500,
            "server_error",
            "What is stored cannot be read here: TRUNKLINE_SECRET_KEY is not the key.",
        ),
        ("GET", "/api/things/bug", 500, "server_error", "Internal Server Error"),
    ],
)
async def test_detail_stands_beside_the_envelope(
    method: str, path: str, status: int, code: str, detail: str
) -> None:
    reply = await ask(method, path)
    assert reply.status_code == status
    body = reply.json()
    assert body.keys() == {"detail", "error"}
    assert body["detail"] == detail
    assert body["error"].keys() == ENVELOPE
    assert body["error"]["code"] == code
    assert "secret" not in reply.text


async def test_redis_that_is_away_is_503_with_the_time_to_wait() -> None:
    reply = await ask("GET", "/api/things/redis")
    assert reply.status_code == 503
    assert reply.json()["error"]["code"] == "redis_unavailable"
    assert reply.headers["retry-after"] == "1"


async def test_what_pydantic_refuses_is_422_with_a_list_that_quotes_nothing() -> None:
    reply = await ask("GET", "/api/things/numbers/sk-secret")
    assert reply.status_code == 422
    body = reply.json()
    (mistake,) = body["detail"]
    assert mistake.keys() == {"type", "loc", "msg"}
    assert (mistake["type"], mistake["loc"]) == ("int_parsing", ["path", "number"])
    assert body["error"]["param"] == "number"
    assert body["error"]["code"] == "invalid_value"
    assert "sk-secret" not in reply.text


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/apiary"])
async def test_elsewhere_the_envelope_stands_alone(path: str) -> None:
    assert (await ask("GET", path)).json().keys() == {"error"}


async def test_a_slash_too_many_is_redirected_under_api_alone() -> None:
    reply = await ask("GET", "/api/things/?a=b")
    assert (reply.status_code, reply.headers["location"]) == (307, "/api/things?a=b")
    assert (await ask("GET", "/v1/models/echo/")).status_code == 404
