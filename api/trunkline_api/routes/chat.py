"""POST /v1/chat/completions."""

from dataclasses import dataclass

from trunkline_api.abilities import Asked
from trunkline_api.asked import of_chat
from trunkline_api.auth import Principal
from trunkline_api.chat_request import fill_in
from trunkline_api.headers import Headers
from trunkline_api.render.chat import ChatRenderer
from trunkline_api.render.completion import render_completion
from trunkline_api.shown_tools import shows_tools
from trunkline_api.wire.chat import ChatRequest, parse_chat
from trunkline_shared.fold import Folded
from trunkline_shared.run import RunRequest


@dataclass(frozen=True, slots=True)
class ChatQuestion:
    """A chat completion request, for `trunkline_api.answer.Answer`."""

    request: ChatRequest
    show_tools: bool = False

    @property
    def model(self) -> str:
        return self.request.model

    @property
    def conversation(self) -> str:
        return ""

    def asks(self) -> Asked:
        return of_chat(self.request)

    async def ask(self, run: RunRequest, principal: Principal) -> bytes:
        fill_in(run, self.request)
        return b""

    def told(self, run: RunRequest, folded: Folded) -> bytes:
        return self.renderer(run).whole(folded)

    def renderer(self, run: RunRequest) -> ChatRenderer:
        return ChatRenderer(
            run.run_id,
            run.model,
            include_usage=self.request.include_usage,
            show_tools=self.show_tools,
        )

    def reply(self, run: RunRequest, folded: Folded) -> bytes:
        return render_completion(run.run_id, run.model, folded, show_tools=self.show_tools)


def chat_question(body: bytes, headers: Headers) -> ChatQuestion:
    """Raises ApiError 400."""
    return ChatQuestion(parse_chat(body), shows_tools(headers))
