"""The fake upstream as a process of its own, asked by its admin routes."""

import json
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.fakes.process import LoggedProcess


class UpstreamProcess:
    """Scripted by model names, see `tests.fakes.upstream`; times are `time.monotonic()`."""

    module = "tests.fakes.upstream"

    def __init__(self, log: Path, environ: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", self.module, "--port", "0"]
        self._process = LoggedProcess(command, log, environ, piped=True)
        line = self._process.first_line()
        if not line:
            self._process.collect()
            raise AssertionError(f"the fake upstream did not start\n{self._process.tail()}")
        self._root = f"http://127.0.0.1:{int(line)}"
        # Whatever proxy the machine has is not for loopback.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @property
    def base_url(self) -> str:
        return f"{self._root}/v1"

    def requests(self) -> list[dict[str, Any]]:
        """Every chat request so far: model, body, headers, at."""
        return self._ask("/_requests")

    def closed(self) -> list[dict[str, Any]]:
        """Replies whose peer closed before their end: model, at."""
        return self._ask("/_closed")

    def open(self) -> list[str]:
        """The models of the replies in progress."""
        return self._ask("/_open")

    def reset(self) -> None:
        self._ask("/_reset")

    def until(self, holds: Callable[["UpstreamProcess"], bool], timeout_s: float = 30) -> None:
        """Returns once `holds(self)`; fails with what it saw after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not holds(self):
            seen = f"open {self.open()}, closed {self.closed()}"
            assert time.monotonic() < deadline, f"the upstream never came to that: {seen}"
            time.sleep(0.01)

    def stop(self) -> None:
        self._process.signal(signal.SIGTERM)
        self._process.collect()

    def _ask(self, path: str) -> Any:
        with self._opener.open(self._root + path, timeout=30) as reply:
            return json.load(reply)


class ResponsesProcess(UpstreamProcess):
    """See `tests.fakes.responses`."""

    module = "tests.fakes.responses"


class AnthropicProcess(UpstreamProcess):
    """See `tests.fakes.anthropic`."""

    module = "tests.fakes.anthropic"

    @property
    def base_url(self) -> str:
        return self._root
