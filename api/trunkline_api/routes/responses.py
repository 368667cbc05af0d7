"""POST /v1/responses as a question, and the routes to what is stored of its answers."""

from collections.abc import Callable
from dataclasses import dataclass

import orjson
from fastapi import APIRouter, Depends, Request, Response
from starlette.exceptions import HTTPException

from trunkline_api.abilities import Asked
from trunkline_api.asked import of_responses
from trunkline_api.auth import Principal
from trunkline_api.deps import principal_of
from trunkline_api.errors import invalid
from trunkline_api.gateway import Gateway
from trunkline_api.headers import Headers
from trunkline_api.render.response import About, finished, unfinished
from trunkline_api.render.responses import ResponsesRenderer, render_response
from trunkline_api.responses_echo import echo
from trunkline_api.responses_request import fill_in, input_items
from trunkline_api.shown_tools import shows_tools
from trunkline_api.stored_responses import Record, StoredResponses, response_not_found
from trunkline_api.wire.response_reply import DeletedResponse, ResponseObject
from trunkline_api.wire.responses import ResponsesRequest, parse_responses
from trunkline_shared.fold import Folded
from trunkline_shared.run import RunRequest, created_ms
from trunkline_shared.transcript import Item


@dataclass(frozen=True, slots=True)
class ResponsesQuestion:
    """A Responses request, for `trunkline_api.answer.Answer`."""

    request: ResponsesRequest
    stored: StoredResponses

    @property
    def model(self) -> str:
        return self.request.model

    def asks(self) -> Asked:
        return of_responses(self.request)

    async def ask(self, run: RunRequest, principal: Principal) -> bytes:
        previous = self.request.previous_response_id
        before: list[Item] = []
        if previous is not None and not run.conversation:
            before = await self.stored.history(previous, principal.name)
        fill_in(run, self.request, before)
        if not run.store:
            return b""
        record = Record(
            principal=principal.name,
            model=run.model,
            echo=echo(self.request),
            input=input_items(self.request),
            previous=previous,
            created=created_ms(run.run_id) // 1000,
        )
        return await self.stored.seal(record)

    def renderer(self, run: RunRequest) -> ResponsesRenderer:
        return ResponsesRenderer(self._about(run))

    def reply(self, run: RunRequest, folded: Folded) -> bytes:
        return render_response(self._about(run), folded)

    def _about(self, run: RunRequest) -> About:
        return About(run.run_id, run.model, echo(self.request))


def responses_question(stored: StoredResponses) -> Callable[[bytes, Headers], ResponsesQuestion]:
    """What makes a question of a body, and raises ApiError 400."""

    def question(body: bytes, headers: Headers) -> ResponsesQuestion:
        shows_tools(headers)  # a response always does; only what nobody can be shown is refused
        return ResponsesQuestion(parse_responses(body), stored)

    return question


def responses_router(gateway: Gateway, stored: StoredResponses) -> APIRouter:
    """Stored responses, by the id that every reply about them has."""
    router = APIRouter(prefix="/v1/responses", tags=["Responses"])
    authenticate = Depends(principal_of(gateway))

    @router.get("/{response_id}", response_model=ResponseObject)
    async def get_response(
        request: Request, response_id: str, principal: Principal = authenticate
    ) -> Response:
        """A stored response; `status` says how far it got."""
        _check_query(request)
        found = await stored.find(response_id, principal.name)
        if found is None:
            raise response_not_found(response_id)
        if found.folded is None:
            value = unfinished(found.about, found.status)
        else:
            value = finished(found.about, found.folded)
        return Response(orjson.dumps(value), media_type="application/json")

    @router.delete("/{response_id}")
    async def delete_response(
        response_id: str, principal: Principal = authenticate
    ) -> DeletedResponse:
        """Forgets a stored response; those that follow it can then not be continued."""
        if not await stored.delete(response_id, principal.name):
            raise response_not_found(response_id)
        return DeletedResponse(id=response_id)

    # Else the paths of what is not here yet, like /v1/responses/compact, would be 405.
    @router.post("/{_}", include_in_schema=False)
    async def nothing() -> None:
        raise HTTPException(404)

    return router


def _check_query(request: Request) -> None:
    query = request.query_params
    if query.get("stream", "false").lower() not in ("false", "0"):
        raise invalid(
            "stream", "A stored response cannot be streamed here: GET it without 'stream'."
        )
    if "starting_after" in query:
        raise invalid(
            "starting_after", "A stored response cannot be streamed here: leave this out."
        )
