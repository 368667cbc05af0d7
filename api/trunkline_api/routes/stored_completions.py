"""The routes to stored chat completions."""

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response

from trunkline_api.auth import Principal
from trunkline_api.deps import parsed_as, principal_of
from trunkline_api.errors import invalid
from trunkline_api.gateway import Gateway
from trunkline_api.headers import by_name
from trunkline_api.paging import Limit, Order, page
from trunkline_api.render.completion import completion_id, render_completion, run_of_completion
from trunkline_api.render.completion_messages import message_values
from trunkline_api.shown_tools import shows_tools
from trunkline_api.stored_completions import StoredCompletions, Wanted
from trunkline_api.stored_runs import Stored
from trunkline_api.wire.chat_reply import ChatCompletion
from trunkline_api.wire.completions import (
    CompletionChange,
    CompletionList,
    CompletionMessageList,
    DeletedCompletion,
)
from trunkline_shared.fold import Folded

_METADATA: Final = {
    "name": "metadata",
    "in": "query",
    "description": "Pairs that all have, as `metadata[key]=value`.",
    "style": "deepObject",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
}
_PAIR: Final = re.compile(r"metadata\[(.*)\]", re.DOTALL)


def stored_completions_router(gateway: Gateway, stored: StoredCompletions) -> APIRouter:
    """Stored completions, by the id that every reply about them has."""
    router = APIRouter(prefix="/v1/chat/completions", tags=["Chat"])
    authenticate = Depends(principal_of(gateway))

    @router.get("", response_model=CompletionList, openapi_extra={"parameters": [_METADATA]})
    async def list_completions(
        request: Request,
        after: str | None = None,
        limit: Limit = 20,
        order: Order = "asc",
        model: Annotated[str | None, Query(min_length=1)] = None,
        principal: Principal = authenticate,
    ) -> Response:
        """Those that have ended, by the time of their request, also of one `model` and with pairs
        of metadata: `metadata[key]=value`.
        """
        wanted = Wanted(principal.name, model, _pairs(request.query_params.multi_items()))
        place = None if after is None else _run_of(after)
        found, has_more = await stored.page(wanted, after=place, limit=limit, order=order)
        return _listed(found, has_more, show_tools=_shows_tools(request))

    @router.get("/{completion_id}", response_model=ChatCompletion)
    async def get_completion(
        request: Request, completion_id: str, principal: Principal = authenticate
    ) -> Response:
        """A stored completion, as it was replied."""
        found = await stored.get(completion_id, principal.name)
        return _as_json(_rendered(found, show_tools=_shows_tools(request)))

    @router.post("/{completion_id}", response_model=ChatCompletion)
    async def change_completion(
        request: Request,
        completion_id: str,
        principal: Annotated[Principal, authenticate],
        change: Annotated[CompletionChange, Depends(parsed_as(gateway, CompletionChange))],
    ) -> Response:
        """Gives it other metadata."""
        found = await stored.get(completion_id, principal.name)
        found = await stored.change(found, change.metadata or {})
        return _as_json(_rendered(found, show_tools=_shows_tools(request)))

    @router.delete("/{completion_id}")
    async def delete_completion(
        completion_id: str, principal: Principal = authenticate
    ) -> DeletedCompletion:
        """Forgets a stored completion."""
        await stored.forget(await stored.get(completion_id, principal.name))
        return DeletedCompletion(id=completion_id)

    @router.get("/{completion_id}/messages", response_model=CompletionMessageList)
    async def list_messages(
        completion_id: str,
        after: str | None = None,
        limit: Limit = 20,
        order: Order = "asc",
        principal: Principal = authenticate,
    ) -> Response:
        """The messages of its request."""
        found = await stored.get(completion_id, principal.name)
        values = message_values(found.record.messages, found.run_id)
        return _as_json(orjson.dumps(page(values, after=after, limit=limit, order=order)))

    return router


def _pairs(query: Iterable[tuple[str, str]]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for name, value in query:
        if not name.startswith("metadata"):
            continue
        pair = _PAIR.fullmatch(name)
        if pair is None:
            raise invalid("metadata", "Filter by metadata with 'metadata[key]=value'.")
        if pairs.setdefault(pair[1], value) != value:
            raise invalid(name[:80], f"'{name[:80]}' has two values, and no completion has both.")
    if len(pairs) > 16:
        raise invalid("metadata", "No completion has more than 16 pairs of metadata.")
    return pairs


def _run_of(after: str) -> str:
    run_id = run_of_completion(after)
    if run_id is None:
        raise invalid("after", f"'after' is the id of a completion, and '{after[:100]}' is none.")
    return run_id


def _shows_tools(request: Request) -> bool:
    return shows_tools(by_name(request.scope["headers"]))


def _rendered(found: Stored, *, show_tools: bool) -> bytes:
    return render_completion(
        found.run_id,
        found.record.model,
        found.folded or Folded(),
        metadata=found.record.echo["metadata"],
        show_tools=show_tools,
    )


def _listed(found: Sequence[Stored], has_more: bool, *, show_tools: bool) -> Response:
    data = b",".join([_rendered(each, show_tools=show_tools) for each in found])
    ids = [completion_id(each.run_id) for each in found]
    about = {
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
        "has_more": has_more,
    }
    return _as_json(b'{"object":"list","data":[' + data + b"]," + orjson.dumps(about)[1:])


def _as_json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
