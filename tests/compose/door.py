"""Carries connections from an inherited listening socket to a port of the network namespace that
this process runs in:  door.py FD PORT"""

import asyncio
import contextlib
import socket
import sys


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    # A client that leaves closes both ways; so do we.
    writer.close()


async def pass_through(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
) -> None:
    try:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(carry(reader, inner_writer), carry(inner_reader, writer))


async def main(listener: socket.socket, port: int) -> None:
    server = await asyncio.start_server(lambda r, w: pass_through(r, w, port), sock=listener)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])))
