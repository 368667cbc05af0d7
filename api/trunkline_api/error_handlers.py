"""OpenAI's envelope for everything that goes wrong inside FastAPI, unknown routes included.

Paths under /api are OpenHands' first: there `detail` stands beside the envelope.
"""

import logging
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from trunkline_api.errors import (
    INVALID_REQUEST,
    SERVER_ERROR,
    ApiError,
    error_body,
    from_refused,
    invalid,
    redis_away,
    unprocessable,
)
from trunkline_shared.errors import RedisUnavailable, Refused
from trunkline_shared.vault import Unreadable

_API = "/api/"

logger = logging.getLogger(__name__)


def install_error_handlers(app: FastAPI) -> None:
    """Replaces every reply of FastAPI's own that is not 2xx."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RedisUnavailable, _redis_unavailable)
    app.add_exception_handler(Unreadable, _unreadable)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _validation)
    # FastAPI raises the exception again after this reply, so that it gets logged.
    app.add_exception_handler(Exception, _unexpected)


def reply(error: ApiError, path: str = "") -> Response:
    """The error as a response object, to a request of `path`."""
    body: dict[str, Any] = error_body(error)
    if _is_api(path):
        body = {"detail": error.message if error.detail is None else error.detail, **body}
    return Response(orjson.dumps(body), error.status, error.headers, "application/json")


def _is_api(path: str) -> bool:
    return f"{path}/".startswith(_API)


def _path(request: Request) -> str:
    """Without what the application is mounted under."""
    path: str = request.scope["path"]
    return path.removeprefix(request.scope.get("root_path", ""))


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return reply(error, _path(request))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return reply(from_refused(error), _path(request))


async def _redis_unavailable(request: Request, error: Exception) -> Response:
    return reply(redis_away(), _path(request))


async def _unreadable(request: Request, error: Exception) -> Response:
    logger.error("what is stored cannot be read: %s", error)
    message = f"What is stored cannot be read here: {error}."
    failure = ApiError(500, message, SERVER_ERROR, "server_error", should_retry=False)
    return reply(failure, _path(request))


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = _path(request)
    where = f"{request.method} {request.url.path[:200]}"
    headers = error.headers or {}
    if error.status_code == 404:
        if path.startswith(_API) and path.endswith("/"):
            there = request.url.replace(path=request.url.path.rstrip("/"), scheme="", netloc="")
            return Response(status_code=307, headers={"location": str(there)})
        refusal = ApiError(404, f"Invalid URL ({where})", code="unknown_url", detail="Not Found")
        return reply(refusal, path)
    if error.status_code == 405:
        allowed = next((value for name, value in headers.items() if name.lower() == "allow"), "")
        message = f"Not allowed: {where}. Use {allowed}." if allowed else f"Not allowed: {where}."
        code, detail = "method_not_supported", "Method Not Allowed"
        refusal = ApiError(405, message, code=code, extra_headers=headers, detail=detail)
        return reply(refusal, path)
    kind = SERVER_ERROR if error.status_code >= 500 else INVALID_REQUEST
    refusal = ApiError(error.status_code, str(error.detail), kind, extra_headers=headers)
    return reply(refusal, path)


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if _is_api(_path(request)):
        return reply(unprocessable(error.errors()), _path(request))
    mistake = error.errors()[0]
    param = str(mistake["loc"][-1])
    return reply(invalid(param, f"Invalid value for '{param}': {mistake['msg']}."), _path(request))


async def _unexpected(request: Request, error: Exception) -> Response:
    message, detail = "The server had an error.", "Internal Server Error"
    failure = ApiError(500, message, SERVER_ERROR, "server_error", detail=detail)
    return reply(failure, _path(request))
