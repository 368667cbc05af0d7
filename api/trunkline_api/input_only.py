"""What questions have in common that build on an input and are not answered by the agent."""

from dataclasses import dataclass

from trunkline_api.abilities import Asked
from trunkline_api.asked import of_responses
from trunkline_api.prior import Prior
from trunkline_api.stream import Renderer
from trunkline_api.wire.responses import ResponsesRequest
from trunkline_shared.fold import Folded
from trunkline_shared.run import RunRequest


@dataclass(slots=True)
class InputOnlyQuestion:
    """The part of a `trunkline_api.answer.Question` that says no more than its request does.

    Nothing of it is stored, and its bodies have no `stream`.
    """

    request: ResponsesRequest
    prior: Prior

    @property
    def model(self) -> str:
        return self.request.model

    @property
    def conversation(self) -> str:
        return self.request.conversation_id or ""

    def asks(self) -> Asked:
        return of_responses(self.request)

    def renderer(self, run: RunRequest) -> Renderer:
        raise AssertionError("nothing is streamed here")

    def told(self, run: RunRequest, folded: Folded) -> bytes:
        raise AssertionError("nothing is streamed here")
