"""An agent that is an async generator: it yields what it says. See examples/python.yml."""

from collections.abc import AsyncIterator

from trunkline_shared.run import RunRequest
from trunkline_shared.transcript import text_of


async def countdown(request: RunRequest) -> AsyncIterator[str]:
    """Counts down from the number that it is given."""
    last = request.transcript[-1]
    asked = text_of(last["content"]) if last["type"] == "message" else ""
    for number in range(int(asked) if asked.isdigit() else 3, 0, -1):
        yield f"{number} "
    yield "go"
