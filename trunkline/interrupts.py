"""SIGINT, SIGTERM and SIGHUP as events: the first asks to stop, the second to hurry."""

import asyncio
import signal
from typing import Self


class Interrupts:
    """Active inside `with`, in the main thread, on the running loop."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()

    def __enter__(self) -> Self:
        # An ignored SIGHUP is nohup's doing, and stays ignored.
        self._signals = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            self._signals.append(signal.SIGHUP)
        loop = asyncio.get_running_loop()
        for number in self._signals:
            loop.add_signal_handler(number, self._received)
        return self

    def __exit__(self, *exc_info: object) -> None:
        loop = asyncio.get_running_loop()
        for number in self._signals:
            loop.remove_signal_handler(number)

    def _received(self) -> None:
        if self.stop.is_set():
            self.hurry.set()
        self.stop.set()
