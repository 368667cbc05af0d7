"""Webhooks as settings name them: OpenHands' WebhookSpec."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]*")


def check_url(url: str) -> str:
    """Raises ValueError for what nothing can be posted to."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not _is_valid(url):
        raise ValueError("expected a URL with http:// or https://")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("a URL without user and fragment")
    return url


def _is_valid(url: str) -> bool:
    import httpx  # not there in workers, which read these settings too and have no webhooks

    try:
        httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return True


def _check_base_url(url: str) -> str:
    parts = urlsplit(check_url(url))
    if parts.query:
        raise ValueError("a URL without user, query and fragment; secrets go into headers")
    return url.rstrip("/")


def _check_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError("a header's name or value has characters that HTTP does not allow")
    return headers


class Webhook(BaseModel):
    """Events go to `{base_url}/events/{id}`, the conversation to `{base_url}/conversations`.

    `event_buffer_size` is how many events one request may hold, `retry_delay` what the second
    attempt waits, in seconds; each later one waits twice as long, a minute at most. The others
    belong to the original's buffer in memory, and are without effect here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: Annotated[str, AfterValidator(_check_base_url)]
    headers: Annotated[dict[str, str], Field(repr=False), AfterValidator(_check_headers)] = {}
    event_buffer_size: int = Field(5, ge=1)
    retry_delay: float = Field(5.0, ge=0, allow_inf_nan=False)
    num_retries: int = Field(3, ge=0)
    flush_delay: float = Field(30.0, gt=0)
    max_queue_size: int = Field(1000, ge=1)
    max_batch_bytes: int = Field(5 * 1024 * 1024, ge=1)
    max_queue_bytes: int = Field(50 * 1024 * 1024, ge=1)


def reader(kind: Any) -> Callable[[Any], Any]:
    """What makes values of this kind of a JSON list; what is no text passes. It raises ValueError
    that shows no value.
    """
    adapter = TypeAdapter(kind)

    def read(given: Any) -> Any:
        if not isinstance(given, str):
            return given
        try:
            return adapter.validate_json(given)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = "".join(
                f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"]
            )
            said = first["msg"].removeprefix("Value error, ")
            raise ValueError(f"a JSON list of webhooks; {where or 'it'}: {said}") from None

    return read


read_webhooks = reader(tuple[Webhook, ...])
