"""Which secrets of a profile leave the process, and in which form. Pure."""

from typing import Any, Final

from trunkline_api.errors import SERVER_ERROR, ApiError, unprocessable
from trunkline_shared.llm import MASK, Llm
from trunkline_shared.vault import Unreadable, Vault

EXPOSE_HEADER: Final = "X-Expose-Secrets"


def exposed(llm: Llm, header: str | None, vault: Vault) -> dict[str, Any]:
    """All fields as JSON, secrets as the header asks. Raises ApiError 400 or 503."""
    match (header or "").strip().lower():
        case "":
            shown = llm.with_secrets(lambda where, _: None if where == "api_key" else MASK)
        case "plaintext":
            shown = llm
        case "encrypted" | "true":  # what the first clients sent
            if not vault.has_key:
                raise _no_key()
            shown = llm.with_secrets(lambda _, secret: vault.seal(secret.encode()).decode())
        case other:
            raise ApiError(
                400,
                f"Invalid {EXPOSE_HEADER} header value: {other[:64]!r}. "
                "Valid values are: 'encrypted', 'plaintext'.",
                code="invalid_value",
                param=EXPOSE_HEADER,
            )
    return shown.model_dump(mode="json")


def decrypted(llm: Llm, vault: Vault) -> Llm:
    """With what `encrypted` gave out turned back. Raises ApiError 422 for what does not open."""

    def opened(where: str, secret: str) -> str:
        if not vault.is_token(secret.encode()):
            return secret
        try:
            return vault.open(secret.encode()).decode()
        except (Unreadable, UnicodeDecodeError):
            message = "an encrypted value that this server's TRUNKLINE_SECRET_KEY does not open"
            loc = ("body", "llm", *where.split(".", 1))
            raise unprocessable([{"type": "value_error", "loc": loc, "msg": message}]) from None

    return llm.with_secrets(opened)


def _no_key() -> ApiError:
    return ApiError(
        503,
        "Encryption not available: TRUNKLINE_SECRET_KEY is not configured. "
        "Cannot return encrypted secrets.",
        SERVER_ERROR,
        "no_secret_key",
        should_retry=False,
    )
