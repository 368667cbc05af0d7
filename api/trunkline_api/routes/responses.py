"""POST /v1/responses as a question."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trunkline_api.abilities import Asked
from trunkline_api.additional_tools import with_all_tools
from trunkline_api.asked import of_responses
from trunkline_api.auth import Principal
from trunkline_api.compactions import Compactions
from trunkline_api.conversation_id import check_named
from trunkline_api.headers import Headers
from trunkline_api.kept_reasoning import seal_of
from trunkline_api.references import resolved
from trunkline_api.render.response import About, error_of
from trunkline_api.render.responses import ResponsesRenderer, render_folded, render_response
from trunkline_api.render.resumed import Resumed
from trunkline_api.responses_echo import echo
from trunkline_api.responses_request import fill_in, input_items
from trunkline_api.shown_tools import shows_tools
from trunkline_api.stored_responses import History, StoredResponses
from trunkline_api.stored_runs import Record
from trunkline_api.stream import Renderer
from trunkline_api.submission import Kept
from trunkline_api.wire.responses import ResponsesRequest, parse_responses
from trunkline_shared.events import Failed
from trunkline_shared.fold import Folded
from trunkline_shared.run import RunRequest, created_ms


@dataclass(slots=True)
class ResponsesQuestion:
    """A Responses request, for `trunkline_api.answer.Answer`.

    Once it was asked, `request` has all that it names in its place.
    """

    request: ResponsesRequest
    stored: StoredResponses
    compactions: Compactions

    @property
    def model(self) -> str:
        return self.request.model

    @property
    def conversation(self) -> str:
        return self.request.conversation_id or ""

    def asks(self) -> Asked:
        return of_responses(self.request)

    async def ask(self, run: RunRequest, principal: Principal) -> Kept:
        previous = self.request.previous_response_id
        before = History()
        if previous is not None and not run.conversation:
            before = await self.stored.history(previous, principal.name)
        request = await resolved(self.request, self.stored, principal.name)
        self.request = request = with_all_tools(request, before.items)
        fill_in(run, request, before.items)
        if run.compact_above is not None:
            self.compactions.check("context_management")
        elif run.purpose:  # its last item asks for that
            self.compactions.check(f"input[{len(request.input) - 1}]")
        run.transcript = await self.compactions.opened(
            run.transcript, principal.name, request.input
        )
        if not run.store:
            return Kept()
        record = Record(
            principal=principal.name,
            model=run.model,
            echo=self._echo(run),
            input=input_items(request),
            previous=previous,
            ancestors=before.ancestors,
            created=created_ms(run.run_id) // 1000,
            seals=self.request.seals_reasoning,
        )
        return Kept(await self.stored.seal(record))

    def renderer(self, run: RunRequest) -> Renderer:
        renderer = ResponsesRenderer(self._about(run))
        return renderer if run.reply else Resumed(renderer)

    def reply(self, run: RunRequest, folded: Folded) -> bytes:
        return render_response(self._about(run), folded)

    def told(self, run: RunRequest, folded: Folded) -> bytes:
        end, about = folded.terminal, self._about(run)
        if isinstance(end, Failed) and not folded.items and not about.is_background:
            raise error_of(end)
        return render_folded(about, folded)

    def _about(self, run: RunRequest) -> About:
        seals = self.request.seals_reasoning
        seal = seal_of(self.stored.vault, run.principal) if seals else None
        return About(run.run_id, run.model, self._echo(run), seal)

    def _echo(self, run: RunRequest) -> dict[str, Any]:
        values = echo(self.request)
        if run.conversation and values["conversation"] is None:  # a header named it
            values["conversation"] = {"id": run.conversation}
        return values


def responses_question(
    stored: StoredResponses,
    compactions: Compactions,
    parse: Callable[[bytes], ResponsesRequest] = parse_responses,
) -> Callable[[bytes, Headers], ResponsesQuestion]:
    """What makes a question of a body, and raises ApiError 400."""

    def question(body: bytes, headers: Headers) -> ResponsesQuestion:
        shows_tools(headers)  # a response always does; only what nobody can be shown is refused
        asked = ResponsesQuestion(parse(body), stored, compactions)
        check_named(asked.conversation, headers)
        return asked

    return question
