"""A child process that leads a session of its own, and leaves nothing behind when it ends."""

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import IO


class Child:
    """Starts at construction, inside a running loop; a Ctrl-C at the terminal does not reach it.

    Whoever makes one must `wait` for its end before the loop ends. What it leaves in its process
    group is killed when it has ended.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str] | None = None,
        *,
        pass_fds: Sequence[int] = (),
        output: IO[bytes] | None = None,
    ) -> None:
        self.name = name
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._process = subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        threading.Thread(target=self._reap, name=f"reap:{name}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        """Its exit code, once it has ended. Cancelling this leaves the child alone."""
        return await asyncio.shield(self._ended)

    async def ended_within(self, seconds: float) -> bool:
        await asyncio.wait({self._ended}, timeout=max(0.0, seconds))
        return self._ended.done()

    def terminate(self) -> None:
        """Ask it to end (SIGTERM). The group is its own to end in order."""
        if self.code is None:
            self._process.terminate()

    def kill(self) -> None:
        """End it and its group now (SIGKILL)."""
        if self.code is None:
            self._kill_group()

    def _kill_group(self) -> None:
        # PermissionError is macOS's word for a group of which only a zombie is left.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _reap(self) -> None:
        code = self._process.wait()
        self._kill_group()
        self._loop.call_soon_threadsafe(self._ended.set_result, code)
