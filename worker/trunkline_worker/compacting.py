"""A run whose input is longer than its caller wants: it is summed up first, and then answered."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Final

import orjson

from trunkline_shared.compaction import (
    INSTRUCTIONS,
    KEPT_SIZE,
    asking,
    kept,
    problem,
    split,
    summarized,
)
from trunkline_shared.compaction_seal import Compaction, seal, unseal
from trunkline_shared.events import Compacted, Failed, Finished, RunEvent, Step, Usage
from trunkline_shared.fold import Fold, Folded
from trunkline_shared.run import RunRequest
from trunkline_shared.transcript import Item, Message, Options, TextPart
from trunkline_shared.vault import Vault
from trunkline_worker.backends.base import Backend, RunContext
from trunkline_worker.backends.counting import BYTES_PER_TOKEN

_PIECE: Final = 32_000  # characters that fit a frame
_ENTRY: Final = b"compacted "  # what its entry in a journal begins with


class Compacting:
    """Has `backend` count, and sum up what is beyond `compact_above`, before it answers. Where that
    is the purpose of the run, it sums everything up and ends.

    The agent's limits hold for the summary and for the answer, each by itself; the usage is that of
    both. A later attempt goes on with the summary that an earlier one recorded.
    """

    def __init__(self, backend: Backend, vault: Vault) -> None:
        self._backend = backend
        self._vault = vault

    async def open(self) -> None:
        """The backend is open."""

    async def run(self, request: RunRequest, context: RunContext) -> Sequence[RunEvent]:
        first, *others = context.journal or (b"",)
        if first.startswith(_ENTRY):
            content, spent = orjson.loads(first.removeprefix(_ENTRY))
            context = replace(context, journal=others)
            return await self._go_on(request, context, content, Usage(**spent))
        # An attempt that recorded anything else found nothing to sum up.
        made = None if context.journal else await self._compacted(request, context)
        if made is None:
            return await self._backend.run(request, context)
        if isinstance(made, Failed):
            return [made]
        content, usage = made
        entry = _ENTRY + orjson.dumps([content, asdict(usage)])
        await context.record(entry, [*_pieces(content), Step()])
        return await self._go_on(request, context, content, usage)

    async def aclose(self) -> None:
        """The backend is its owner's to close."""

    async def _compacted(
        self, request: RunRequest, context: RunContext
    ) -> tuple[str, Usage] | Failed | None:
        """What takes the place of the transcript, sealed, and what it took; None: it is short."""
        items = _transcript(request)
        if request.purpose == "compact":
            if not items:
                return Failed("invalid_request", "There is nothing to compact.", "input")
            return await self._summed_up(items, (), KEPT_SIZE, request, context)
        before, after = split(items)
        above = request.compact_above or 0
        if not before:
            return None
        counted = await self._quietly(replace(request, purpose="count"), context)
        if isinstance(counted.terminal, Failed):
            return counted.terminal
        if (counted.usage or Usage()).input_tokens <= above:
            return None
        most = min(KEPT_SIZE, above * BYTES_PER_TOKEN // 2)
        return await self._summed_up(before, after, most, request, context)

    async def _summed_up(
        self,
        before: Sequence[Item],
        after: Sequence[Item],
        most: int,
        request: RunRequest,
        context: RunContext,
    ) -> tuple[str, Usage] | Failed:
        summary = await self._quietly(_summary_of(before, request), context)
        if (message := problem(summary)) is not None:
            end = summary.terminal
            failed = Failed("upstream_error", message, usage=summary.usage)
            return end if isinstance(end, Failed) else failed
        *instructions, told = summarized(before, summary.text.strip())
        said = [*kept(before, most), told, *after]
        compaction = Compaction([*instructions, *said], whole=True)
        return seal(self._vault, compaction, request.principal), summary.usage or Usage()

    async def _quietly(self, request: RunRequest, context: RunContext) -> Folded:
        said: list[RunEvent] = []
        quiet = RunContext(context.gate, said.extend, asker=context.asker, used=context.used)
        said += await self._backend.run(request, quiet)
        fold = Fold()
        fold.add(1, said)
        return fold.result()

    async def _go_on(
        self, request: RunRequest, context: RunContext, content: str, spent: Usage
    ) -> Sequence[RunEvent]:
        if request.purpose == "compact":
            return [Finished("stop", spent)]
        shown = unseal(self._vault, content, request.principal).items
        request = replace(request, transcript=[*_instructions(request), *shown])
        try:
            *events, end = await self._backend.run(request, context)
        except asyncio.CancelledError:
            context.used(spent)
            raise
        if isinstance(end, Finished | Failed):
            end = replace(end, usage=spent.plus(end.usage or Usage()))
        return [*events, end]


def _pieces(content: str) -> list[RunEvent]:
    starts = range(0, len(content), _PIECE)
    return [Compacted(content[at : at + _PIECE], more=at + _PIECE < len(content)) for at in starts]


def _instructions(request: RunRequest) -> Sequence[Item]:
    """Those for this run only, which stand before the transcript."""
    return request.transcript[:1] if request.instructions else []


def _transcript(request: RunRequest) -> Sequence[Item]:
    return request.transcript[len(_instructions(request)) :]


def _summary_of(items: Sequence[Item], request: RunRequest) -> RunRequest:
    text = TextPart(type="text", text=INSTRUCTIONS)
    return replace(
        request,
        purpose="summary",
        transcript=[Message(type="message", role="system", content=[text]), asking(items)],
        conversation="",
        options=Options(),
        tools=[],
        tool_choice=None,
        format=None,
        stream=False,
    )
