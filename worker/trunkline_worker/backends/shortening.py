"""A transcript that is too long for its model, asked again without its oldest items."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from trunkline_shared.events import Failed, RunEvent
from trunkline_shared.run import RunRequest
from trunkline_shared.transcript import Item

MAX_CUTS: Final = 8  # each leaves half of what there is


async def within_context(
    request: RunRequest, ask: Callable[[RunRequest], Awaitable[Sequence[RunEvent]]]
) -> Sequence[RunEvent]:
    """The last events of `ask`, which is called again with less, where the caller wants that, as
    long as the model takes no more and has shown nothing."""
    events = await ask(request)
    for _ in range(MAX_CUTS if request.truncate else 0):
        shorter = shortened(request.transcript) if _was_too_long(events) else None
        if shorter is None:
            break
        request = replace(request, transcript=shorter)
        events = await ask(request)
    return events


def _was_too_long(events: Sequence[RunEvent]) -> bool:
    return len(events) == 1 and is_too_long(events[0])


def is_too_long(event: RunEvent) -> bool:
    """Whether a model refused what it was asked for its length, before it showed anything."""
    if not isinstance(event, Failed) or event.usage is not None:
        return False
    return event.code == "context_length_exceeded"


def shortened(items: Sequence[Item]) -> list[Item] | None:
    """Without the older half of what comes before the user's last message, from where a user
    speaks; where nothing does, of what comes after it. None: no more can go.

    Instructions stay, as do that message and the last item; a call goes with its result.
    """
    gone = _older(items)
    calls = {items[at].get("id") for at in gone if items[at]["type"] == "tool_call"}
    kept = [
        item
        for at, item in enumerate(items)
        if at not in gone and not (item["type"] == "tool_result" and item["id"] in calls)
    ]
    return kept if gone and kept and kept[-1] is items[-1] else None


def _older(items: Sequence[Item]) -> set[int]:
    spoken = [at for at, item in enumerate(items) if not _is_said(item, "system", "developer")]
    turns = [at for at in spoken if _is_said(items[at], "user")]
    last = turns[-1] if turns else -1
    before = [at for at in spoken if at < last]
    if not before:
        after = [at for at in spoken if at > last]
        return {*after[: len(after) // 2]}
    middle = before[(len(before) + 1) // 2 - 1]
    begins = next(at for at in turns if at > middle)
    return {at for at in before if at < begins}


def _is_said(item: Item, *roles: str) -> bool:
    return item["type"] == "message" and item["role"] in roles
