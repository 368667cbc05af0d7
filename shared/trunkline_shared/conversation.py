"""Conversations: turns that were taken, and what the next one adds to them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from trunkline_shared.events import Usage
from trunkline_shared.transcript import Item

TURN_VERSION = 1


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of a conversation, after its end.

    `items` is what was new in its transcript, `said` what the agent answered. `outcome` is
    `finished`, or the code of the failure that `message` explains: only finished turns are what
    later ones build on. `model` is what the caller named, `llm` what answered. `latency_s` is from
    the claim to the end. Times are Unix ms.
    """

    run_id: str
    asked_ms: int = 0
    ended_ms: int = 0
    model: str = ""
    llm: str = ""
    items: list[Item] = field(default_factory=list)
    said: list[Item] = field(default_factory=list)
    outcome: str = "finished"
    message: str = ""
    usage: Usage | None = None
    latency_s: float = 0.0

    @property
    def counts(self) -> bool:
        return self.outcome == "finished"


def encode_turn(turn: Turn) -> bytes:
    """Compact JSON with a version; to be sealed before it is stored."""
    return orjson.dumps({"v": TURN_VERSION, **_values(turn)})


def decode_turn(stored: bytes) -> Turn:
    """A turn of `encode_turn`, or of a script, which knows less. Raises ValueError."""
    try:
        values: dict[str, Any] = orjson.loads(stored)
        if values.pop("v") != TURN_VERSION:
            raise ValueError("a turn of an unknown version")
        if (usage := values.get("usage")) is not None:
            values["usage"] = Usage(**usage)
        return Turn(**values)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError("not a turn of a conversation") from error


def history(turns: Sequence[Turn]) -> list[Item]:
    """All that was said in the turns that count, in order."""
    return [item for turn in turns if turn.counts for item in (*turn.items, *turn.said)]


def what_is_new(before: Sequence[Item], transcript: Sequence[Item]) -> list[Item]:
    """The items of `transcript` that continue `before`.

    Clients send only what is new, or everything once more: what follows the assistant's last item
    counts, and every system and developer message, but for one that stands in `before` already.
    All of it counts where nothing was said before.
    """
    if not before:
        return [*transcript]
    last = max((at for at, item in enumerate(transcript) if is_assistants(item)), default=-1)
    told = [item for item in before if _is_instruction(item)]
    return [
        item
        for at, item in enumerate(transcript)
        if (item not in told if _is_instruction(item) else at > last)
    ]


def loose_end(before: Sequence[Item], new: Sequence[Item]) -> str | None:
    """What is wrong with `new` as the results of the caller's calls that `before` ends with; None:
    each call has one, and nothing else has. What is older is as it is.
    """
    unanswered: dict[str, str] = {}  # names by ids
    for item in before:
        if _is_users(item):
            unanswered.clear()
        else:
            _answer(unanswered, item)
    for item in new:
        if _is_users(item) and unanswered:
            break
        if not _answer(unanswered, item):
            return f"The conversation has no call that {item.get('id')} could be the result of."
    if not unanswered:
        return None
    calls = ", ".join(f"{each} of {name}" for each, name in [*unanswered.items()][:5])
    return f"The conversation waits for the result of {calls}: send it first, or with the others."


def _answer(unanswered: dict[str, str], item: Item) -> bool:
    """False for a result of no call."""
    if item["type"] == "tool_call" and "toolset" not in item:
        unanswered[item["id"]] = item["name"]
    elif item["type"] == "tool_result" and "toolset" not in item:
        return unanswered.pop(item["id"], None) is not None
    return True


def _is_users(item: Item) -> bool:
    return item["type"] == "message" and item["role"] == "user"


def is_assistants(item: Item) -> bool:
    """Whether the agent said or did it."""
    match item["type"]:
        case "message":
            return item["role"] == "assistant"
        case "tool_result":
            return "toolset" in item
        case _:
            return item["type"] in ("reasoning", "tool_call")


def _is_instruction(item: Item) -> bool:
    return item["type"] == "message" and item["role"] in ("system", "developer")


def _values(turn: Turn) -> dict[str, Any]:
    return {name: getattr(turn, name) for name in turn.__dataclass_fields__}
