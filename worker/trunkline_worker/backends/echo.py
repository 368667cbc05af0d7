"""The agent that repeats what it was told: no provider, no key, always the same answer."""

import asyncio
import itertools
import re
from collections.abc import AsyncGenerator, Iterator, Sequence

from trunkline_shared.config.models import AgentConfig
from trunkline_shared.events import Finished, RunEvent, TextDelta, Usage
from trunkline_shared.run import RunRequest
from trunkline_shared.transcript import text_of
from trunkline_worker.backends.base import RunContext
from trunkline_worker.backends.counting import counted
from trunkline_worker.backends.limits import output_limit
from trunkline_worker.backends.refusal import refusal

_WORD = re.compile(r"\S+\s*")
_BATCH = 256  # words at once, so that a long answer does not keep other runs waiting


class EchoBackend:
    """Answers with the text of the last user message, or the one it was given, word by word.

    A word counts as a token.
    """

    def __init__(self, agent: AgentConfig) -> None:
        self._agent = agent
        asked = agent.settings.get("max_tokens")
        self._settings = {"max_output_tokens": asked if isinstance(asked, int) else None}

    async def open(self) -> None:
        """Nothing is needed."""

    async def run(self, request: RunRequest, context: RunContext) -> Sequence[RunEvent]:
        if (failed := refusal(request)) is not None:
            return [failed]
        await context.gate()
        if request.purpose == "count":
            return [counted(_input_words(request), "echo")]
        limit = output_limit(request.options, self._settings, self._agent.limits)
        pieces = self._pieces(self._text(request), request.options.get("stop", []))
        if limit.tokens is not None:
            pieces = itertools.islice(pieces, limit.tokens + 1)
        said, cut = 0, False
        async for batch in self._paced(pieces):
            if limit.tokens is not None and said + len(batch) > limit.tokens:
                batch, cut = batch[: limit.tokens - said], True
            said += len(batch)
            context.emit(batch)
        return [
            Finished(
                "length" if cut else "stop",
                Usage(_input_words(request), said, cost=0.0),
                "echo",
                limit.detail if cut else None,
            )
        ]

    async def aclose(self) -> None:
        """Nothing is held."""

    def _text(self, request: RunRequest) -> str:
        fixed = self._agent.echo.text
        return _prompt(request) if fixed is None else fixed

    def _pieces(self, prompt: str, stop: Sequence[str]) -> Iterator[str]:
        words = self._agent.echo.words
        pieces = _split(prompt) if words is None else _repeated(prompt, words)
        if not stop:
            return pieces
        text = "".join(pieces)
        found = [at for mark in stop if mark and (at := text.find(mark)) >= 0]
        return _split(text[: min(found, default=len(text))])

    async def _paced(self, pieces: Iterator[str]) -> AsyncGenerator[list[TextDelta], None]:
        """Each word at its time after the start: a late one does not delay those after it."""
        clock = asyncio.get_running_loop().time
        start, rate, said = clock(), self._agent.echo.words_per_second, 0
        while True:
            due = _BATCH if not rate else int((clock() - start) * rate) + 1 - said
            batch = [TextDelta(piece) for piece in itertools.islice(pieces, min(due, _BATCH))]
            if batch:
                yield batch
            elif due > 0:
                return
            said += len(batch)
            await asyncio.sleep(start + said / rate - clock() if rate else 0)


def _prompt(request: RunRequest) -> str:
    for item in reversed(request.transcript):
        if item["type"] == "message" and item["role"] == "user":
            return text_of(item["content"])
    return ""


def _input_words(request: RunRequest) -> int:
    return sum(
        len(text_of(item["content"]).split())
        for item in request.transcript
        if item["type"] == "message"
    )


def _split(text: str) -> Iterator[str]:
    lead = text[: len(text) - len(text.lstrip())]
    for match in _WORD.finditer(text):
        yield lead + match[0]
        lead = ""
    if lead:
        yield lead


def _repeated(prompt: str, count: int) -> Iterator[str]:
    words = itertools.cycle(prompt.split() or ["echo"])
    yield from (f"{word} " for word in itertools.islice(words, count - 1))
    yield next(words)
