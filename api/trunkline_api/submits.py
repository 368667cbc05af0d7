"""Calls of `submit`: runs that are asked for in one loop tick go to Redis in one."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from trunkline_api.settings import ApiSettings
from trunkline_shared.pipe import Pipe
from trunkline_shared.scripts import Argument

MAX_RUNS: Final = 32  # one call blocks Redis no longer than these take
MAX_BYTES: Final = 1 << 20  # in one call, unless one alone has more: Redis bounds a command

Submission = tuple[Argument, ...]


class Submits:
    """A call has what all its runs share, and costs Redis as much as a run does by itself."""

    def __init__(self, settings: ApiSettings, pipe: Pipe) -> None:
        self._pipe = pipe
        self._shared = ("runs", int(settings.queue_timeout_s * 1000), settings.max_queue)
        self._asked: list[tuple[Submission, asyncio.Future[Any]]] = []

    def ask(self, submission: Submission) -> asyncio.Future[Any]:
        """What `submit` answers to one run; raises as `Pipe.call` does.

        One whose caller has left before the end of the loop tick is not asked for.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        if not self._asked:
            loop.call_soon(self._send)
        self._asked.append((submission, answer))
        return answer

    def _send(self) -> None:
        asked, self._asked = self._asked, []
        arguments: list[Argument] = [*self._shared]
        answers: list[asyncio.Future[Any]] = []
        size = 0
        for submission, answer in asked:
            if answer.done():
                continue
            its = sum(len(each) for each in submission if isinstance(each, bytes))
            if answers and (len(answers) == MAX_RUNS or size + its > MAX_BYTES):
                self._call(arguments, answers)
                arguments, answers, size = [*self._shared], [], 0
            arguments += (len(submission), *submission)
            answers.append(answer)
            size += its
        if answers:
            self._call(arguments, answers)
        self._pipe.flush()

    def _call(self, arguments: list[Argument], answers: list[asyncio.Future[Any]]) -> None:
        self._pipe.call_then(partial(_settle, answers), "submit", *arguments)


def _settle(answers: Sequence[asyncio.Future[Any]], told: Any) -> None:
    """What Redis said to one call: an error for all its runs, or for each an answer or an error."""
    each = [told] * len(answers) if isinstance(told, Exception) else told
    for answer, of_one in zip(answers, each, strict=True):
        if answer.done():
            continue  # its caller has left
        if isinstance(of_one, Exception):
            answer.set_exception(of_one)
        else:
            answer.set_result(of_one)
