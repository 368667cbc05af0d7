"""Who sends the same request again and again, at any of several API processes."""

from typing import Any
from uuid import uuid4

import httpx

from tests.fakes.system import System
from tests.patience import PATIENCE_S

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
REPLAYED = "idempotency-replayed"


class Caller:
    """One principal; its requests have the same Idempotency-Key."""

    def __init__(self, system: System, key: str) -> None:
        self.key = str(uuid4())
        self.http = [
            httpx.AsyncClient(
                base_url=system.url(api),
                headers={"authorization": f"Bearer {key}"},
                limits=httpx.Limits(max_connections=None),
                timeout=PATIENCE_S,
            )
            for api in range(len(system.apis))
        ]

    async def post(
        self, body: dict[str, Any], *, api: int = 0, path: str = CHAT, **headers: str
    ) -> httpx.Response:
        headers = {"Idempotency-Key": self.key, **headers}
        return await self.http[api].post(path, json=body, headers=headers)

    async def aclose(self) -> None:
        for http in self.http:
            await http.aclose()


def frames(reply: httpx.Response) -> list[bytes]:
    return [part for part in reply.content.split(b"\n\n") if part and not part.startswith(b":")]
