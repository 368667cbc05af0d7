"""POST /v1/chat/completions."""

from collections.abc import Callable
from dataclasses import dataclass

from trunkline_api.abilities import Asked
from trunkline_api.asked import of_chat
from trunkline_api.auth import Principal
from trunkline_api.chat_request import fill_in
from trunkline_api.headers import Headers
from trunkline_api.render.chat import ChatRenderer
from trunkline_api.render.completion import render_completion
from trunkline_api.render.completion_messages import stored_message
from trunkline_api.shown_tools import shows_tools
from trunkline_api.stored_completions import StoredCompletions
from trunkline_api.stored_runs import Record
from trunkline_api.submission import Kept
from trunkline_api.wire.chat import ChatRequest, parse_chat
from trunkline_shared.fold import Folded
from trunkline_shared.run import RunRequest, created_ms


@dataclass(slots=True)  # not frozen, which would cost as much as all its members
class ChatQuestion:
    """A chat completion request, for `trunkline_api.answer.Answer`."""

    request: ChatRequest
    stored: StoredCompletions
    show_tools: bool = False

    @property
    def model(self) -> str:
        return self.request.model

    @property
    def conversation(self) -> str:
        return ""

    def asks(self) -> Asked:
        return of_chat(self.request)

    async def ask(self, run: RunRequest, principal: Principal) -> Kept:
        fill_in(run, self.request)
        if not run.store:
            return Kept()
        record = Record(
            kind="completion",
            principal=principal.name,
            model=run.model,
            echo={"metadata": self._metadata},
            messages=[stored_message(message) for message in self.request.messages],
            created=created_ms(run.run_id) // 1000,
        )
        return Kept(await self.stored.seal(record), self.stored.lists(record))

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
        return render_completion(
            run.run_id,
            run.model,
            folded,
            metadata=self._metadata if self.request.store else None,
            show_tools=self.show_tools,
        )

    @property
    def _metadata(self) -> dict[str, str]:
        return self.request.metadata or {}


def chat_question(stored: StoredCompletions) -> Callable[[bytes, Headers], ChatQuestion]:
    """What makes a question of a body, and raises ApiError 400."""

    def question(body: bytes, headers: Headers) -> ChatQuestion:
        return ChatQuestion(parse_chat(body), stored, shows_tools(headers))

    return question
