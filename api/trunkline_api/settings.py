"""Settings of an API process."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from trunkline_api.response_webhooks import ResponseWebhook, read_response_webhooks
from trunkline_api.webhooks import Webhook, read_webhooks
from trunkline_shared.settings import CommonSettings, Count, MaybeSeconds, Positive, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings(CommonSettings):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    api_key: tuple[str, ...] = field(default=(), repr=False)  # any of these opens the door
    api_key_file: str | None = None  # one key a line, `name:key` or `key`; `#` starts a comment
    session_api_key: tuple[str, ...] = field(default=(), repr=False)  # all of one principal
    cors_origins: tuple[str, ...] = field(
        default=(), metadata={"may_be_empty": True}
    )  # off unless given; `*` for all
    docs: bool = True  # /docs, /redoc and /openapi.json
    max_body_bytes: Positive = 32 * 1024 * 1024
    body_timeout_s: Seconds = 60.0  # a client that takes longer to send its body is refused
    max_concurrent: Count = 0  # runs at once per key; 0 means no limit
    max_queue: Positive = 10_000  # waiting runs per pool
    queue_timeout_s: Seconds = 120.0  # a run not begun by then fails
    headers_after_s: MaybeSeconds = 1.0  # a stream's headers wait so long for the first output
    heartbeat_s: Seconds = 10.0  # an SSE comment after so much silence
    write_timeout_s: Seconds = 60.0  # a client that reads nothing for so long is let go
    reader_buffer_bytes: Positive = 256 * 1024  # frames waiting for one slow client
    idempotency_retention_s: Seconds = 86_400.0  # what came of an Idempotency-Key is kept so long
    websocket_responses: Positive = 16  # at once on one WebSocket; more wait
    websocket_life_s: Seconds = 3600.0  # a WebSocket takes nothing new when it is so old
    websocket_ping_s: Seconds = 20.0  # how often a WebSocket's client is asked whether it lives
    conversation_wait_s: Seconds = 300.0  # a run waits so long for the one before it
    max_waiting: Positive = 1000  # runs that wait in one conversation
    unknown_conversations: Literal["create", "refuse"] = "create"  # ids that callers chose
    webhooks: Annotated[tuple[Webhook, ...], BeforeValidator(read_webhooks)] = field(
        default=(), repr=False
    )
    """Who is told of every turn of a conversation."""
    response_webhooks: Annotated[
        tuple[ResponseWebhook, ...], BeforeValidator(read_response_webhooks)
    ] = field(default=(), repr=False)
    """Who is told of the end of each response in the background."""
    webhook_timeout_s: Seconds = 30.0  # a webhook that takes longer to answer is asked again
    webhook_patience_s: Seconds = 3600.0  # what a webhook has not taken by then is dropped
    submit_retry_s: Seconds = 1.0  # how long a submit waits for a Redis that is away
    notice_s: MaybeSeconds = 0.0  # requests are taken so long after SIGTERM, for slow proxies
    grace_s: MaybeSeconds = 30.0  # streams go on so long after that
