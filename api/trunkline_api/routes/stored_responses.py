"""The routes to what is stored of responses: found, told once more, cancelled, forgotten."""

from collections.abc import Sequence
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Response
from starlette.exceptions import HTTPException

from trunkline_api.auth import Principal
from trunkline_api.deps import principal_of
from trunkline_api.errors import invalid
from trunkline_api.gateway import Gateway
from trunkline_api.later import Replay
from trunkline_api.paging import Limit, Order, page
from trunkline_api.render.input_items import item_values
from trunkline_api.stored_responses import StoredResponses, response_not_found
from trunkline_api.stored_runs import Stored
from trunkline_api.watch import Watch
from trunkline_api.wire.response_reply import DeletedResponse, InputItemList, ResponseObject
from trunkline_api.wire.responses import ENCRYPTED


def stored_responses_router(gateway: Gateway, stored: StoredResponses, watch: Watch) -> APIRouter:
    """Stored responses, by the id that every reply about them has."""
    router = APIRouter(prefix="/v1/responses", tags=["Responses"])
    authenticate = Depends(principal_of(gateway))

    @router.get("/{response_id}", response_model=ResponseObject)
    async def get_response(
        response_id: str,
        stream: bool = False,
        starting_after: Annotated[int | None, Query(ge=0, lt=2**53)] = None,
        include: Annotated[Sequence[str], Query(alias="include[]")] = (),
        principal: Principal = authenticate,
    ) -> Response:
        """A stored response; `status` says how far it got.

        With `stream=true` its events, from those after `starting_after` on. Of `include` only
        `reasoning.encrypted_content` has an effect.
        """
        _check_cursor(starting_after, stream)
        found = _including(include, await stored.get(response_id, principal.name), stored)
        told = Replay(watch, gateway.settings, found, starting_after)
        return told if stream else _as_json(found)

    @router.get("/{response_id}/input_items", response_model=InputItemList)
    async def list_input_items(
        response_id: str,
        after: str | None = None,
        limit: Limit = 20,
        order: Order = "desc",
        principal: Principal = authenticate,
    ) -> Response:
        """The items of the request's own input; not those of what it followed."""
        found = await stored.get(response_id, principal.name)
        items = item_values(found.record.input, found.run_id)
        value = page(items, after=after, limit=limit, order=order)
        return Response(orjson.dumps(value), media_type="application/json")

    @router.post("/{response_id}/cancel", response_model=ResponseObject)
    async def cancel_response(response_id: str, principal: Principal = authenticate) -> Response:
        """Cancels a response in the background; one that has ended stays as it is."""
        found = await stored.get(response_id, principal.name)
        if not found.about.is_background:
            message = "Only what was asked for with 'background': true can be cancelled."
            raise invalid("response_id", message)
        await _end(found, watch)
        return _as_json(await stored.get(response_id, principal.name))

    @router.delete("/{response_id}")
    async def delete_response(
        response_id: str, principal: Principal = authenticate
    ) -> DeletedResponse:
        """Forgets a stored response; those that follow it can then not be continued.

        One in the background that has not ended is cancelled: nobody could find it any more.
        """
        found = await stored.get(response_id, principal.name)
        await _end(found, watch)
        if not await stored.delete(response_id, principal.name):
            raise response_not_found(response_id)
        return DeletedResponse(id=response_id)

    # Else the paths of what is not here would be 405.
    @router.post("/{_}", include_in_schema=False)
    async def nothing() -> None:
        raise HTTPException(404)

    return router


def _check_cursor(starting_after: int | None, stream: bool) -> None:
    if starting_after is not None and not stream:
        raise invalid("starting_after", "'starting_after' needs 'stream=true'.")


def _including(include: Sequence[str], found: Stored, stored: StoredResponses) -> Stored:
    return stored.sealing(found) if ENCRYPTED in include else found


async def _end(found: Stored, watch: Watch) -> None:
    if found.folded is None and found.about.is_background:
        await watch.cancel(found.run_id)


def _as_json(found: Stored) -> Response:
    return Response(orjson.dumps(found.value), media_type="application/json")
