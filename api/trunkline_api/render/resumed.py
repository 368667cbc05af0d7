"""A response's stream told once more, from where its reader left off."""

from collections.abc import Sequence
from typing import Final

from trunkline_api.errors import from_failure, invalid
from trunkline_api.render.broken_off import broken_off
from trunkline_api.render.responses import ResponsesRenderer
from trunkline_shared.events import Failed, Finished, RunEvent

_UNKNOWN: Final = "The response has ended, and none of its events has that number."


class Resumed:
    """What `renderer` says, without its first events: those up to the sequence number `after`."""

    heartbeat = ResponsesRenderer.heartbeat
    shows_output = staticmethod(ResponsesRenderer.shows_output)
    refusal = staticmethod(ResponsesRenderer.refusal)

    def __init__(self, renderer: ResponsesRenderer, after: int = -1) -> None:
        self._renderer = renderer
        self._known = after + 1  # events that are still to be left out

    def render(self, events: Sequence[RunEvent]) -> bytes:
        data = self._renderer.render(events)
        if not self._known or not data:
            return data
        blocks = data.split(b"\n\n")  # the last one is empty
        left_out = min(self._known, len(blocks) - 1)
        self._known -= left_out
        if self._known and events and isinstance(events[-1], Finished | Failed):
            return broken_off(invalid("starting_after", _UNKNOWN), self._renderer.told - 1)
        return b"\n\n".join(blocks[left_out:])

    def broken(self, failed: Failed, *, goes_on: bool = True) -> bytes:
        """Tells that this stream cannot go on, though its run may.

        It has the number of the event before, or that after which its reader came.
        """
        return broken_off(from_failure(failed), max(0, self._renderer.told + self._known - 1))
