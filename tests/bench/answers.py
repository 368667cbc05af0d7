"""The answers that a load generator reads: which tokens each holds, and whether it is whole."""

import json
import re
from typing import Protocol

from tests.bench.spec import Spec

Found = list[tuple[bytes, bytes]]  # the numbers of tokens, and when they were sent or nothing

_TOKEN = re.compile(rb" w(\d+)(?:@([0-9a-f]+))?")
_DELTA = re.compile(rb'"type"\s*:\s*"response\.output_text\.delta"')
_COMPLETED = re.compile(rb'"type"\s*:\s*"response\.completed"')


class Answer(Protocol):
    """Fed with the body as it comes. `end` says what came with the end, and what was wrong."""

    def feed(self, data: bytes) -> Found: ...

    def end(self) -> tuple[Found, str]: ...


class ChatEvents:
    """A streamed chat completion: every token in its lines, then [DONE]."""

    def __init__(self) -> None:
        self._tail = b""
        self._done = False

    def feed(self, data: bytes) -> Found:
        data = self._tail + data if self._tail else data
        end = data.rfind(b"\n") + 1
        self._tail = data[end:]
        lines = data[:end]
        if b"[DONE]" in lines:
            self._done = True
        return _TOKEN.findall(lines)

    def end(self) -> tuple[Found, str]:
        return [], "" if self._done else "ended without [DONE]"


class ResponsesEvents:
    """A streamed response: tokens count in its deltas, which later events repeat."""

    def __init__(self) -> None:
        self._tail = b""
        self._completed = False

    def feed(self, data: bytes) -> Found:
        *lines, self._tail = (self._tail + data).split(b"\n")
        found: Found = []
        for line in lines:
            if _DELTA.search(line):
                found += _TOKEN.findall(line)
            elif _COMPLETED.search(line):
                self._completed = True
        return found

    def end(self) -> tuple[Found, str]:
        return [], "" if self._completed else "ended without response.completed"


class WholeAnswer:
    """A chat completion as one JSON object: every token in the message's content."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Found:
        self._pieces.append(data)
        return []

    def end(self) -> tuple[Found, str]:
        try:
            content = json.loads(b"".join(self._pieces))["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError) as error:
            return [], f"is no chat completion: {error!r}"
        return _TOKEN.findall(str(content).encode()), ""


def answer_to(spec: Spec) -> Answer:
    """A reader of one answer."""
    kinds: dict[str, type[Answer]]
    kinds = {"chat": ChatEvents, "whole": WholeAnswer, "responses": ResponsesEvents}
    return kinds[spec.ask]()
