"""Webhooks of responses as settings name them, and signed as Standard Webhooks are."""

import base64
import binascii
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from trunkline_api.webhooks import check_url, reader

ResponseEvent: TypeAlias = Literal[
    "response.completed", "response.failed", "response.cancelled", "response.incomplete"
]
ALL_EVENTS: Final[tuple[ResponseEvent, ...]] = get_args(ResponseEvent)

_SECRET_PREFIX: Final = "whsec_"
_LEAST_BYTES, _MOST_BYTES = 24, 64  # Standard Webhooks has these bounds


def _check_secret(secret: SecretStr) -> SecretStr:
    said = secret.get_secret_value()
    try:
        key = base64.b64decode(said.removeprefix(_SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not said.startswith(_SECRET_PREFIX) or not _LEAST_BYTES <= len(key) <= _MOST_BYTES:
        raise ValueError(
            f"expected {_SECRET_PREFIX} and then {_LEAST_BYTES} to {_MOST_BYTES} bytes in base64: "
            f'echo "{_SECRET_PREFIX}$(openssl rand -base64 32)" makes one'
        )
    return secret


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


class ResponseWebhook(BaseModel):
    """`url` gets a POST when a response in the background has ended in one of the ways `events`.

    While its `secret` is changed a webhook has several, and each request a signature of each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(check_url), Field(repr=False)]
    secret: Annotated[
        tuple[Annotated[SecretStr, AfterValidator(_check_secret)], ...],
        BeforeValidator(_as_list),
        Field(min_length=1),
    ]
    events: Annotated[tuple[ResponseEvent, ...], Field(min_length=1)] = ALL_EVENTS

    @property
    def shown_url(self) -> str:
        """For logs: a query may be a secret."""
        parts = urlsplit(self.url)
        return parts._replace(query="").geturl()

    def signed(self, id: str, body: bytes) -> dict[str, str]:
        """The headers of a request that leaves now: receivers refuse one that was signed long
        before, and know by `id` what they were told already."""
        now = int(time.time())
        at, text = datetime.fromtimestamp(now, UTC), body.decode()
        secrets = (secret.get_secret_value() for secret in self.secret)
        # Workers read these settings too, where there is no such library.
        from standardwebhooks import Webhook as Signer

        return {
            "webhook-id": id,
            "webhook-timestamp": str(now),
            "webhook-signature": " ".join(Signer(each).sign(id, at, text) for each in secrets),
        }


read_response_webhooks = reader(tuple[ResponseWebhook, ...])
