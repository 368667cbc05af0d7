"""GET /server_info: what runs here, for clients that adapt to it."""

import sys
import time

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from trunkline_api.deps import principal_of
from trunkline_api.gateway import Gateway
from trunkline_api.openapi import package_version


class ServerInfo(BaseModel):
    """`uptime` in seconds of this process; what is OpenHands' own is unknown, and of tools none."""

    uptime: int
    title: str = "Trunkline"
    version: str
    sdk_version: str = "unknown"
    tools_version: str = "unknown"
    workspace_version: str = "unknown"
    build_git_sha: str = "unknown"
    build_git_ref: str = "unknown"
    python_version: str = sys.version
    usable_tools: list[str] = []
    conversation_runtime: str = "local"
    available_conversation_runtimes: list[str] = []
    capabilities: list[str] = []
    docs: str | None
    redoc: str | None


def server_info_router(gateway: Gateway) -> APIRouter:
    """With a key, where there are any: versions tell strangers what to try."""
    router = APIRouter(tags=["Server"], dependencies=[Depends(principal_of(gateway))])
    began = time.monotonic()
    docs = gateway.settings.docs

    @router.get("/server_info")
    async def server_info() -> ServerInfo:
        """Versions and addresses of the documentation."""
        return ServerInfo(
            uptime=int(time.monotonic() - began),
            version=package_version(),
            docs="/docs" if docs else None,
            redoc="/redoc" if docs else None,
        )

    return router
