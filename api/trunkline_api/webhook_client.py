"""One request to a webhook, and what came of it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import httpx

_DROPPED: Final = 64 * 1024  # bytes of a reply; after more the connection is closed


class Parcel(NamedTuple):
    """One request; `body` is JSON."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a webhook did not take a request; `status` None: it did not answer."""

    words: str
    status: int | None = None


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

    async def post(self, parcel: Parcel) -> Problem | None:
        """None when the webhook took it."""
        url, _, body = parcel
        headers = {**parcel.headers, "content-type": "application/json"}
        asking = self._client.stream("POST", url, content=body, headers=headers)
        try:
            async with asyncio.timeout(self._timeout_s):
                async with asking as reply:
                    await _drop(reply)
        except (httpx.RequestError, TimeoutError) as error:
            return Problem(type(error).__name__)
        if reply.is_success:
            return None
        return Problem(f"status {reply.status_code}", reply.status_code)

    async def aclose(self) -> None:
        await self._client.aclose()


async def _drop(reply: httpx.Response) -> None:
    """Reads what nobody wants to know, so that the connection is used again; not much of it, and
    not what it becomes when it is unpacked."""
    async for _ in reply.aiter_raw():
        if reply.num_bytes_downloaded > _DROPPED:
            return
