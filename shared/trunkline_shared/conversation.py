"""Conversations: turns that were taken, and what the next one adds to them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from trunkline_shared.events import Usage
from trunkline_shared.transcript import Item

TURN_VERSION = 1
_RARE: Final = ("items_at", "said_at", "seen")  # which versions before did not know


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of a conversation, after its end.

    `items` is what was new in its transcript, `said` what the agent answered. `outcome` is
    `finished`, or the code of the failure that `message` explains: only finished turns are what
    later ones build on. `model` is what the caller named, `llm` what answered. `latency_s` is from
    the claim to the end. Times are Unix ms.

    What a caller adds without a run is a turn too, with an id like a run's and without an answer.
    `items_at` has the places that `items` had in the request, `said_at` those of `said` in the
    output: their ids hang on them; empty where they are 0, 1, 2... A run has seen the first `seen`
    turns of its conversation; None: all before its own.
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
    items_at: list[int] = field(default_factory=list)
    said_at: list[int] = field(default_factory=list)
    seen: int | None = None

    @property
    def counts(self) -> bool:
        return self.outcome == "finished"


def places(at: Sequence[int]) -> list[int]:
    """As a turn keeps them."""
    return [] if [*at] == [*range(len(at))] else [*at]


def encode_turn(turn: Turn) -> bytes:
    """Compact JSON with a version; to be sealed before it is stored."""
    values = {n: v for n, v in _values(turn).items() if n not in _RARE or v not in (None, [])}
    return orjson.dumps({"v": TURN_VERSION, **values})


def decode_turn(stored: bytes) -> Turn:
    """A turn of `encode_turn`, or of a script, which knows less. Raises ValueError."""
    try:
        values: dict[str, Any] = orjson.loads(stored)
        if values.pop("v") != TURN_VERSION:
            raise ValueError("a turn of an unknown version")
        if (usage := values.get("usage")) is not None:
            values["usage"] = Usage(**usage)
        for newer in values.keys() - Turn.__dataclass_fields__.keys():
            del values[newer]
        return Turn(**values)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError("not a turn of a conversation") from error


def history(turns: Sequence[Turn]) -> list[Item]:
    """All that was said in the turns that count. What was added while a run had the turn, which has
    not seen it, follows that run's turn.
    """
    ordered: list[Turn] = []
    for turn in turns:
        ordered.insert(len(ordered) if turn.seen is None else turn.seen, turn)
    return _paired([item for turn in ordered if turn.counts for item in (*turn.items, *turn.said)])


def _paired(items: list[Item]) -> list[Item]:
    """Without calls of the caller's that were passed over, and results of no call: a deletion may
    leave them, and no model takes them.
    """
    waiting: dict[str, int] = {}  # where the calls are that have no result yet
    lost: set[int] = set()
    for at, item in enumerate(items):
        if _is_users(item):
            lost.update(waiting.values())
            waiting.clear()
        elif item["type"] == "tool_call" and "toolset" not in item:
            waiting[item["id"]] = at
        elif item["type"] == "tool_result" and "toolset" not in item:
            lost.update(() if waiting.pop(item["id"], None) is not None else (at,))
    return [item for at, item in enumerate(items) if at not in lost] if lost else items


def new_places(before: Sequence[Item], transcript: Sequence[Item]) -> list[int]:
    """The places of the items in `transcript` that continue `before`.

    Clients send only what is new, or everything once more: what follows the assistant's last item
    counts, and every system and developer message, but for one that stands in `before` already.
    All of it counts where nothing was said before.
    """
    if not before:
        return [*range(len(transcript))]
    last = max((at for at, item in enumerate(transcript) if is_assistants(item)), default=-1)
    told = [item for item in before if _is_instruction(item)]
    return [
        at
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
