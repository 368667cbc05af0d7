"""What a later attempt does about the calls that an earlier one began. Pure."""

from collections.abc import Iterator

from trunkline_shared.events import RunEvent
from trunkline_worker.claude_code.progress import UNDONE, UNKNOWN, Call, Progress
from trunkline_worker.claude_code.prompt import Block

_LOST = "The machine that you worked on was lost. Go on with the task from where you were."


def closed_calls(progress: Progress) -> Iterator[tuple[bytes, list[RunEvent]]]:
    """Entries and events that end every call which the log has as open."""
    results = progress.results()
    for call in [call for call in progress.calls.values() if not call.ended]:
        if (result := results.get(call.call_id)) is not None:
            text, failed = result
            yield progress.end(call, "" if failed else text, text if failed else None)
        else:
            yield progress.end(call, "", UNKNOWN if _in_doubt(call) else UNDONE)


def go_on(progress: Progress, prompt: list[Block]) -> list[Block]:
    """What the model is told: the `prompt`, if its record lacks that, and how every call went of
    which the record does not tell.
    """
    told, results = progress.recorded_calls(), progress.results()
    open_calls = [call for call in progress.calls.values() if call.call_id not in results]
    notes = [_note(call, recorded=call.call_id in told) for call in open_calls]
    text = "\n\n".join([_LOST, *filter(None, notes)])
    return [*prompt, {"type": "text", "text": text}]


def _note(call: Call, *, recorded: bool) -> str | None:
    what = f"You called {call.name} with {call.arguments or '{}'}."
    if call.output is not None and call.output not in (UNKNOWN, UNDONE):
        return f"{what} It is done, and gave back:\n{call.output}"
    if _in_doubt(call):  # of one that is recorded the command line itself says so
        doubt = f"{what} Nobody knows whether it was carried out: look before you repeat it."
        return None if recorded else doubt
    return f"{what} It was not carried out to its end: call it again if you need it."


def _in_doubt(call: Call) -> bool:
    return call.begun and call.effect == "at_most_once"
