"""The tool of the agents that are killed: a line in a file is its effect."""

import asyncio

from tests.chaos.crash_cell import Place


async def look(place: str) -> str:
    """Looks."""
    here = Place.parse(place)
    if here.stands_at("begun tool"):
        await asyncio.Event().wait()
    here.did("tool")
    if here.stands_at("in tool"):
        await asyncio.Event().wait()
    return "done"
