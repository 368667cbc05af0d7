"""The direct lane: one streamed chat completion of an OpenAI-compatible upstream for each run."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import partial

import orjson

from trunkline_shared.config.models import AgentConfig
from trunkline_shared.events import RunEvent
from trunkline_shared.run import RunRequest
from trunkline_worker.backends.asking import Chain
from trunkline_worker.backends.base import RunContext
from trunkline_worker.backends.chat_request import chat_body
from trunkline_worker.backends.counting import estimated
from trunkline_worker.backends.exchange import Exchange, Upstream
from trunkline_worker.backends.formats import asks_for_format, checked
from trunkline_worker.backends.http_client import HttpClient
from trunkline_worker.backends.limits import OutputLimit
from trunkline_worker.backends.retry import Retry
from trunkline_worker.backends.shortening import within_context
from trunkline_worker.models import ModelSpec
from trunkline_worker.prices import Prices


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A model that is asked for chat completions."""

    spec: ModelSpec
    upstream: Upstream

    @property
    def host(self) -> str:
        return self.upstream.origin.host

    def call(
        self, request: RunRequest, agent: AgentConfig, limit: OutputLimit, context: RunContext
    ) -> Exchange:
        body = orjson.dumps(chat_body(request, agent, self.spec, limit.sent))
        return Exchange(self.upstream, body, limit.tokens, context)


class ChatBackend:
    """Calls the models of one agent, in order, until one answers."""

    def __init__(
        self,
        agent: AgentConfig,
        models: Sequence[ModelSpec],
        client: HttpClient,
        prices: Prices,
        *,
        retry: Retry | None = None,
        connect_timeout_s: float = 10.0,
        silence_timeout_s: float = 120.0,
    ) -> None:
        def upstream(spec: ModelSpec) -> Upstream:
            return Upstream.of(
                spec,
                client,
                connect_timeout_s=connect_timeout_s,
                silence_timeout_s=silence_timeout_s,
            )

        self._agent = agent
        chat_models = [ChatModel(spec, upstream(spec)) for spec in models]
        self._chain = Chain(agent, chat_models, prices, retry)

    async def open(self) -> None:
        """Looks the models' prices up."""
        self._chain.load_prices()

    async def run(self, request: RunRequest, context: RunContext) -> Sequence[RunEvent]:
        if request.purpose == "count":
            return [estimated(request, self._agent)]
        if not request.truncate and not asks_for_format(request):
            return await self._ask(request, context)
        return await checked(request, context, partial(self._ask_within_context, request))

    async def aclose(self) -> None:
        """The client is its owner's to close."""

    def _ask_within_context(
        self, request: RunRequest, context: RunContext
    ) -> Awaitable[Sequence[RunEvent]]:
        return within_context(request, lambda asked: self._ask(asked, context))

    def _ask(self, request: RunRequest, context: RunContext) -> Awaitable[Sequence[RunEvent]]:
        return self._chain.ask(
            request, context, lambda model, limit: model.call(request, self._agent, limit, context)
        )
