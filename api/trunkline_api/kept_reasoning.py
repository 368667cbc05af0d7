"""Reasoning that its client keeps for us: sealed in the item, and opened when it comes back.

Only its principal brings it back, and nobody makes it up. The same reasoning is sealed to the same
text, because a stream that is told again is told in the same bytes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import orjson

from trunkline_api.errors import invalid
from trunkline_api.wire.response_items import InputItem, ReasoningItem, ReasoningText
from trunkline_shared.fold import summary_of
from trunkline_shared.output_items import OutputItem
from trunkline_shared.vault import Unreadable, Vault

Seal: TypeAlias = Callable[[OutputItem], str]

_OURS: Final = "tlr1_"  # other providers' is handed on as it came


def seal_of(vault: Vault, principal: str) -> Seal | None:
    """None without a secret key: then there is nothing that could be trusted again."""
    return partial(_sealed, vault, principal) if vault.has_key else None


def opened(
    items: Sequence[InputItem], vault: Vault, principal: str, member: str = "input"
) -> list[InputItem]:
    """The items with our sealed reasoning in clear. Raises ApiError 400 that names the item of
    that `member`."""
    return [
        _opened(item, f"{member}[{index}].encrypted_content", vault, principal)
        if isinstance(item, ReasoningItem) and (item.encrypted_content or "").startswith(_OURS)
        else item
        for index, item in enumerate(items)
    ]


def _sealed(vault: Vault, principal: str, item: OutputItem) -> str:
    said = orjson.dumps({"text": item.of("reasoning"), "summary": summary_of(item)})
    return _OURS + vault.seal_for(_owner(principal), said)


def _opened(item: ReasoningItem, param: str, vault: Vault, principal: str) -> ReasoningItem:
    sealed = (item.encrypted_content or "").removeprefix(_OURS)
    try:
        said: dict[str, Any] = orjson.loads(vault.open_for(_owner(principal), sealed))
    except Unreadable:
        message = f"'{param}' is none that this key was given here, or was changed. "
        message += "Leave the reasoning out, or send it as it came."
        raise invalid(param, message, "invalid_encrypted_content") from None
    texts = (said["text"],) if said["text"] else ()
    return ReasoningItem(
        type="reasoning",
        summary=[ReasoningText(text=text) for text in said["summary"]],
        content=[ReasoningText(text=text) for text in texts],
    )


def _owner(principal: str) -> str:
    return f"reasoning of {principal}"
