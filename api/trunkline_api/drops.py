"""What attempts of a run have dropped: nobody who reads its log later is shown that."""

from collections.abc import Sequence

from trunkline_api.hub import UNREADABLE
from trunkline_api.lookup import Lookup
from trunkline_api.relay import PAGE, RunLost
from trunkline_shared.events import Attempt
from trunkline_shared.frame import decode_frame

_SIGN = b'["attempt",'  # a text that says so has its quotes escaped


async def dropped(lookup: Lookup, log: str) -> Sequence[range]:
    """Of the whole log, the seqs of events that a later attempt took back.

    There will be no more of them once the run is marked as streamed. Raises RunLost for what this
    version cannot read, and ApiError 503.
    """
    found: list[range] = []
    after: bytes = b"-"
    while True:
        (entries,) = await lookup.ask(("XRANGE", log, after, "+", "COUNT", PAGE))
        for _, fields in entries:
            if _SIGN in fields[1]:
                found += _dropped_by(fields[1])
        if len(entries) < PAGE:
            return found
        after = b"(" + entries[-1][0]


def _dropped_by(frame: bytes) -> list[range]:
    try:
        first_seq, events = decode_frame(frame)
    except UNREADABLE as error:
        raise RunLost("a frame of the run cannot be read by this version") from error
    return [
        range(event.drop_from, seq)
        for seq, event in enumerate(events, first_seq)
        if isinstance(event, Attempt) and event.drop_from is not None
    ]
