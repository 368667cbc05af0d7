"""What a `compaction` item holds, sealed for one principal: both tiers seal it and open it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from trunkline_shared.transcript import Item, Opaque
from trunkline_shared.vault import Unreadable, Vault

COMPACTION: Final = "compaction"
_PREFIX: Final = "tlc1."  # tells the version, and that it was sealed here


class Unopened(ValueError):
    """`item` was not sealed here, or for somebody else."""

    def __init__(self, item: Opaque) -> None:
        super().__init__("a compaction that cannot be opened")
        self.item = item


@dataclass(frozen=True, slots=True)
class Compaction:
    """`items` stand for the conversation. `whole`: also for all that comes before the item, which
    is then not to be read.
    """

    items: Sequence[Item]
    whole: bool = False


def seal(vault: Vault, compaction: Compaction, principal: str) -> str:
    """The `encrypted_content`. The vault must have a key."""
    about = {"kind": COMPACTION, "principal": principal, "whole": compaction.whole}
    value = orjson.dumps({**about, "items": compaction.items})
    return _PREFIX + vault.seal(value).decode()


def is_compaction(item: Item) -> bool:
    return item["type"] == "opaque" and item["value"].get("type") == COMPACTION


def expanded(items: Sequence[Item], vault: Vault, principal: str) -> list[Item]:
    """The items with what each compaction stands for in its place. Raises Unopened."""
    found: list[Item] = []
    for item in items:
        if item["type"] != "opaque" or not is_compaction(item):
            found.append(item)
            continue
        try:
            compaction = unseal(vault, item["value"].get("encrypted_content"), principal)
        except ValueError:
            raise Unopened(item) from None
        found = [*(() if compaction.whole else found), *compaction.items]
    return found


def unseal(vault: Vault, content: object, principal: str) -> Compaction:
    """Raises ValueError."""
    if not isinstance(content, str) or not content.startswith(_PREFIX):
        raise ValueError("not sealed here")
    token = content.removeprefix(_PREFIX).encode(errors="replace")
    if not vault.is_token(token):
        raise ValueError("not sealed at all")
    try:
        value = orjson.loads(vault.open(token))
    except Unreadable as error:
        raise ValueError("sealed with another key, or damaged") from error
    # The vault seals other things too.
    if not isinstance(value, dict) or value.get("kind") != COMPACTION:
        raise ValueError("no compaction")
    if value["principal"] != principal:
        raise ValueError("somebody else's")
    return Compaction(value["items"], value["whole"])
