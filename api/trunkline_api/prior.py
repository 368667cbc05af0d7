"""What a run builds on that is no turn itself: the responses, or the conversation, before it."""

from trunkline_api.additional_tools import with_all_tools
from trunkline_api.compactions import Compactions
from trunkline_api.conversations import Conversations
from trunkline_api.errors import invalid, no_conversation, unreadable_conversation
from trunkline_api.references import resolved
from trunkline_api.responses_request import fill_in
from trunkline_api.stored_responses import StoredResponses
from trunkline_api.wire.responses import ResponsesRequest
from trunkline_shared.conversation import history, loose_end, new_places
from trunkline_shared.run import RunRequest
from trunkline_shared.transcript import Item
from trunkline_shared.vault import Unreadable


class Prior:
    """Reads it at the edge, and changes nothing."""

    def __init__(
        self, stored: StoredResponses, conversations: Conversations, compactions: Compactions
    ) -> None:
        self._stored = stored
        self._conversations = conversations
        self._compactions = compactions

    async def fill_in(
        self, run: RunRequest, request: ResponsesRequest, principal: str
    ) -> ResponsesRequest:
        """Writes into a plain run all that the request says, after what it builds on.

        Returns the request with all that it names in its place. The run is then neither stored nor
        part of a conversation. Raises ApiError for what does not exist or is
        somebody else's, and for what does not go together, and RedisUnavailable.
        """
        request = await resolved(request, self._stored, principal)
        before: list[Item] = []
        if run.conversation:
            before = await self._history(run.conversation, principal)
            request = with_all_tools(request, [])
            fill_in(run, request, [])
            known = () if run.all_new else before
            new = [run.transcript[at] for at in new_places(known, run.transcript)]
            if (problem := loose_end(before, new)) is not None:
                raise invalid("input", problem)
            run.transcript = [*before, *new]
            run.conversation = ""
        else:
            previous = request.previous_response_id
            if previous is not None:
                before = (await self._stored.history(previous, principal)).items
            request = with_all_tools(request, before)
            fill_in(run, request, before)
        opened = await self._compactions.opened(run.transcript, principal, request.input)
        run.transcript = opened
        run.store, run.on_lost = False, "fail"
        return request

    async def _history(self, conversation: str, principal: str) -> list[Item]:
        try:
            found = await self._conversations.find(conversation, principal)
        except (Unreadable, ValueError) as error:
            raise unreadable_conversation(error) from None
        if found is None:
            raise no_conversation("conversation")
        return history(found.turns)
