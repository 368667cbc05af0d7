import asyncio

from tests.fakes.webhook_sink import WebhookSink
from tests.patience import PATIENCE_S
from trunkline_api.webhook_client import Parcel, WebhookClient


async def test_a_reply_is_taken_for_its_status_however_long_it_is() -> None:
    client = WebhookClient(timeout_s=PATIENCE_S)
    async with WebhookSink() as sink, asyncio.timeout(PATIENCE_S / 2):
        sink.endless = True
        assert await client.post(Parcel(sink.url, {}, b"{}")) is None
        sink.answer = lambda told: 503
        problem = await client.post(Parcel(sink.url, {}, b"{}"))
        assert problem is not None and problem.status == 503
    await client.aclose()
