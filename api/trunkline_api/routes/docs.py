"""GET /docs, /redoc and /openapi.json: a reference page that loads nothing from elsewhere."""

from importlib.resources import files
from typing import Any, Final

import orjson
from fastapi import APIRouter, Response

_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def docs_router(document: dict[str, Any]) -> APIRouter:
    """Both pages are the same: each describes all endpoints, and tries them on request."""
    page = files("trunkline_api").joinpath("pages", "reference.html").read_bytes()
    described = orjson.dumps(document)
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json")
    async def openapi() -> Response:
        return Response(described, media_type="application/json")

    @router.get("/docs")
    @router.get("/redoc")
    async def reference() -> Response:
        headers = {"content-security-policy": _POLICY}
        return Response(page, headers=headers, media_type="text/html; charset=utf-8")

    return router
