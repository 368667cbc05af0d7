"""What comes through a door is bounded, and from strangers next to nothing is taken."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from trunkline_worker.backends.retry import Retry
from trunkline_worker.claude_code.door import Door
from trunkline_worker.claude_code.lodging import Lodging
from trunkline_worker.sandbox.walls import Sandbox
from trunkline_worker.sandbox.workspace import Workspace

MIB = b"x" * (1 << 20)
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async def admit(_: object) -> None: ...

    place = Lodging(tmp_path, tmp_path, tmp_path, Sandbox("none"), Workspace(tmp_path))
    opened = Door(place, [], Retry(), admit=admit, failed=lambda *_: None)
    await opened.open()
    yield opened
    await opened.aclose()


async def visit(door: Door) -> Ends:
    return await asyncio.open_connection("127.0.0.1", door.port)


def head(path: str = "/", *, key: str = "", length: int = 0) -> bytes:
    lines = f"POST {path} HTTP/1.1\r\nx-api-key: {key}\r\ncontent-length: {length}\r\n\r\n"
    return lines.encode()


async def poured(writer: asyncio.StreamWriter, mib: int) -> int:
    """How much of it is taken before the connection is closed."""
    for taken in range(mib):
        try:
            writer.write(MIB)
            await writer.drain()
        except ConnectionError:
            return taken
    return mib


async def answer(reader: asyncio.StreamReader) -> tuple[int, str]:
    async with asyncio.timeout(20):
        said = await reader.readuntil(b"\r\n0\r\n\r\n")
    status, _, rest = said.partition(b"\r\n\r\n")
    return int(status.split()[1]), orjson.loads(rest.split(b"\r\n")[1])["error"]["message"]


async def closed(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(20):
            return not await reader.read()
    except ConnectionError:
        return True


async def test_a_stranger_is_sent_away_before_the_body_comes(door: Door) -> None:
    reader, writer = await visit(door)
    writer.write(head(key="guessed", length=1 << 40))
    assert await answer(reader) == (401, "This is another run's.")
    assert await closed(reader)
    assert await poured(writer, 64) < 64
    writer.close()


async def test_a_head_without_end_is_not_taken(door: Door) -> None:
    reader, writer = await visit(door)
    writer.write(b"POST / HTTP/1.1\r\nx: ")
    assert await poured(writer, 64) < 64
    assert await closed(reader)
    writer.close()


async def test_all_together_may_ask_so_much_at_once(door: Door) -> None:
    visits = [await visit(door) for _ in range(2)]
    for _, writer in visits:
        writer.write(head("/half", key=door.key, length=30 << 20))
    assert await poured(visits[0][1], 29) == 29
    assert await poured(visits[1][1], 30) < 30 or await closed(visits[1][0])
    # Where the other has gone there is room, for the whole of it.
    visits[0][1].write(MIB)
    assert (await answer(visits[0][0]))[0] == 404
    reader, writer = await visit(door)
    writer.write(head(key=door.key, length=30 << 20))
    assert await poured(writer, 30) == 30
    assert (await answer(reader))[0] == 404
    for _, each in (*visits, (reader, writer)):
        each.close()


async def test_one_connection_asks_for_one_thing_after_the_other(door: Door) -> None:
    reader, writer = await visit(door)
    for _ in range(3):
        writer.write(head(key=door.key))
        assert (await answer(reader))[0] == 404
    writer.write(head(key=door.key) * 1000)
    assert await closed(reader)
    writer.close()


async def test_strangers_take_nobodys_place(door: Door) -> None:
    reader, writer = await visit(door)
    writer.write(head(key=door.key))
    await answer(reader)
    crowd = [await visit(door) for _ in range(100)]
    assert await closed(crowd[0][0])
    writer.write(head(key=door.key))
    assert (await answer(reader))[0] == 404
    late, asking = await visit(door)
    asking.write(head(key=door.key))
    assert (await answer(late))[0] == 404
    for _, each in (*crowd, (reader, writer), (late, asking)):
        each.close()
