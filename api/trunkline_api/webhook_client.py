"""One request to a webhook, and whether it is worth another."""

import asyncio
from dataclasses import dataclass
from typing import Final

import httpx

from trunkline_api.webhooks import Webhook

_PASSING: Final = frozenset({401, 403, 408, 429})  # a key can be put right


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a webhook did not take a request; a passing one may be over the next time."""

    words: str
    passing: bool


class WebhookClient:
    """Follows no redirect, and knows nothing of the environment's proxies and `.netrc`: what is
    sent, secret headers included, goes to the URL of the settings and nowhere else."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s),
            limits=httpx.Limits(max_connections=None),  # each webhook's own room bounds them
            follow_redirects=False,
            trust_env=False,
        )

    async def post(self, webhook: Webhook, path: str, body: bytes) -> Problem | None:
        """None when the webhook took it."""
        headers = {**webhook.headers, "content-type": "application/json"}
        try:
            async with asyncio.timeout(self._timeout_s):
                reply = await self._client.post(
                    webhook.base_url + path, content=body, headers=headers
                )
        except (httpx.RequestError, TimeoutError) as error:
            return Problem(type(error).__name__, passing=True)
        if reply.is_success:
            return None
        status = reply.status_code
        return Problem(f"status {status}", passing=status in _PASSING or status >= 500)

    async def aclose(self) -> None:
        await self._client.aclose()
