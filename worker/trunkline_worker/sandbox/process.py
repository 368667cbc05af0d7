"""A command that runs behind its walls, with what it says."""

import asyncio
import codecs
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from trunkline_worker.sandbox.walls import Command

_CHUNK: Final = 1 << 16
_FLOOD_BYTES: Final = 16 << 20
_LAST_WORDS_S: Final = 0.5


class Output:
    """The beginning and the end of what was said, at most `cap` bytes of it in all."""

    def __init__(self, cap: int) -> None:
        self._half = cap // 2
        self._clear()

    def _clear(self, head: bytes = b"") -> None:
        self._head, self._tail, self._left_out = head, b"", 0

    def add(self, chunk: bytes) -> None:
        room = self._half - len(self._head)
        self._head += chunk[:room]
        tail = self._tail + chunk[room:]
        self._left_out += max(0, len(tail) - self._half)
        self._tail = tail[-self._half :]

    def take(self, *, last: bool = True) -> str:
        """What was said since it was last taken; unless it is the `last` of it, without the
        beginning of a character whose end is to come."""
        hole, rest = "", b""
        head, tail = self._head, self._tail
        if self._left_out:
            head, cut = _whole(head)
            begun = next((i for i, byte in enumerate(tail[:3]) if byte & 0xC0 != 0x80), 0)
            left_out = self._left_out + len(cut) + begun
            hole, tail = f"\n[{left_out} bytes are left out here]\n", tail[begun:]
        else:
            head, tail = b"", head + tail
        if not last:
            tail, rest = _whole(tail)
        self._clear(rest)
        return head.decode(errors="replace") + hole + tail.decode(errors="replace")


def _whole(text: bytes) -> tuple[bytes, bytes]:
    """Without, and then with nothing but, a character at its end that is not whole."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    decoder.decode(text)
    rest = decoder.getstate()[0]
    return text[: len(text) - len(rest)], rest


class Process:
    """Begun by `start`. Whoever holds it awaits `end`, which leaves nothing of it running."""

    def __init__(self, process: asyncio.subprocess.Process, output: Output) -> None:
        self._process = process
        self.output = output
        self.stopped: str | None = None
        """Why it was ended by us, before it ended by itself."""
        self._pump: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls, command: Command, *, cap: int, say: Callable[[str], None] = lambda _: None
    ) -> "Process":
        """Raises OSError. `say` hears what it says as it comes, as far as that is the beginning
        that `cap` leaves of it: what then is taken goes on from there.
        """
        process = await asyncio.create_subprocess_exec(
            *command.argv,
            env=command.env,
            cwd=command.cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            limit=_CHUNK,
        )
        begun = cls(process, Output(cap))
        begun._pump = asyncio.create_task(begun._read(say, cap // 2), name=f"output:{process.pid}")
        return begun

    @property
    def exit_code(self) -> int | None:
        """None while it runs; 128 + n if signal n ended it."""
        code = self._process.returncode
        return 128 - code if code is not None and code < 0 else code

    async def wait(self) -> None:
        """Until it has ended and all that it said is here. Raises what `say` raises."""
        assert self._pump is not None
        waiting = asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait({waiting, self._pump}, return_when=asyncio.FIRST_COMPLETED)
            if self._pump.done():
                self._pump.result()
            await self._process.wait()
            await asyncio.shield(self._pump)
        finally:
            waiting.cancel()

    def stop(self, why: str) -> None:
        """Ends it and all that it began."""
        if self._process.returncode is None and self.stopped is None:
            self.stopped = why
            self._kill()

    async def end(self) -> None:
        """Ends it, if it still runs, and returns when nothing of it is left."""
        assert self._pump is not None
        try:
            self._kill()
            await self._process.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    await asyncio.wait({self._pump})
        finally:
            self._pump.cancel()

    def _kill(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def _read(self, say: Callable[[str], None], most: int) -> None:
        assert self._process.stdout is not None
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        total = 0
        while chunk := await self._process.stdout.read(_CHUNK):
            self.output.add(chunk)
            if total < most and (text := decoder.decode(chunk[: most - total])):
                say(text)
            total += len(chunk)
            if total > _FLOOD_BYTES:
                self.stop(f"it said more than {_FLOOD_BYTES >> 20} MiB")
