"""OpenAI's envelope for everything that goes wrong inside FastAPI, unknown routes included."""

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from trunkline_api.errors import INVALID_REQUEST, SERVER_ERROR, ApiError, envelope, invalid


def install_error_handlers(app: FastAPI) -> None:
    """Replaces every reply of FastAPI's own that is not 2xx."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _validation)
    # FastAPI raises the exception again after this reply, so that it gets logged.
    app.add_exception_handler(Exception, _unexpected)


def reply(error: ApiError) -> Response:
    """The error as a response object."""
    return Response(envelope(error), error.status, error.headers, "application/json")


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return reply(error)


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path[:200]}"
    headers = error.headers or {}
    if error.status_code == 404:
        return reply(ApiError(404, f"Invalid URL ({where})", code="unknown_url"))
    if error.status_code == 405:
        allowed = next((value for name, value in headers.items() if name.lower() == "allow"), "")
        message = f"Not allowed: {where}. Use {allowed}." if allowed else f"Not allowed: {where}."
        code = "method_not_supported"
        return reply(ApiError(405, message, code=code, extra_headers=headers))
    kind = SERVER_ERROR if error.status_code >= 500 else INVALID_REQUEST
    return reply(ApiError(error.status_code, str(error.detail), kind, extra_headers=headers))


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    mistake = error.errors()[0]
    param = str(mistake["loc"][-1])
    return reply(invalid(param, f"Invalid value for '{param}': {mistake['msg']}."))


async def _unexpected(request: Request, error: Exception) -> Response:
    return reply(ApiError(500, "The server had an error.", SERVER_ERROR, "server_error"))
