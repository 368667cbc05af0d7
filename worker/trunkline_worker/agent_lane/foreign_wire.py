"""Providers with a wire of their own, through pydantic-ai's models."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from pydantic_ai.exceptions import AgentRunError, ModelHTTPError, UserError
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart, repair_messages
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.settings import ModelSettings

from trunkline_shared.config.providers import Wire
from trunkline_shared.events import FinishReason, RefusalDelta, RunEvent, Usage
from trunkline_worker.agent_lane.faults import NO_ANSWER, Unfit, of_model_error
from trunkline_worker.agent_lane.history import custom_call, refused
from trunkline_worker.agent_lane.listening import Listener
from trunkline_worker.agent_lane.options import (
    settings_of,
    with_choice,
    with_request,
    without_hints,
)
from trunkline_worker.agent_lane.outbound import Accepted, outbound
from trunkline_worker.agent_lane.step import Step
from trunkline_worker.backends.limits import OutputLimit
from trunkline_worker.backends.upstream_errors import CUT, Fault
from trunkline_worker.models import ModelSpec

logger = logging.getLogger("trunkline.upstream")

# What reading an answer of another shape than expected raises: the clients look at no types.
_WRONG_SHAPE: Final = (AssertionError, AttributeError, LookupError, TypeError, ValueError)
_MOST_TOKENS: Final = 1 << 53
_NOT_THERE: Final = (404, 405, 501)  # of servers that answer but do not count
_PDF_AND_TEXT: Final = ("application/pdf", "text/plain")
ACCEPTED: Final[dict[Wire, Accepted]] = {
    "responses": Accepted(("image/", "application/", "text/"), links=True, files="openai"),
    "anthropic": Accepted(("image/", *_PDF_AND_TEXT), links=True, files="anthropic"),
    "google": Accepted(("image/", "audio/", "video/", *_PDF_AND_TEXT)),
    "google-cloud": Accepted(("image/", "audio/", "video/", *_PDF_AND_TEXT)),
    "bedrock": Accepted(("image/", "application/", "text/")),
    "cohere": Accepted(("none/",)),
}
_REASONS: Final[dict[str | None, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_call": "tool_calls",
}


class ForeignCall:
    """One streamed request. It is its own answer, once it was run."""

    def __init__(self, wire: "ForeignWire", step: Step, limit: OutputLimit) -> None:
        self.fault: Fault | None = None
        self.shown = False
        self.finish: FinishReason | None = None
        self.model: str | None = None
        self.service_tier: str | None = None
        self.system_fingerprint: str | None = None
        self._wire = wire
        self._step = step
        self._limit = limit
        self._customs = frozenset(
            tool["name"] for tool in step.request.tools if tool["type"] == "custom"
        )
        summaries = wire.spec.wire == "responses"  # OpenAI tells no more of what it thinks
        self._listener = Listener(self._customs, limit.tokens, summaries=summaries)
        self._response = ModelResponse(parts=[])

    @property
    def answer(self) -> "ForeignCall":
        return self

    @property
    def output_tokens(self) -> int:
        return self._listener.output_tokens

    def counts(self) -> Usage | None:
        usage = self._response.usage
        if not usage.has_values():
            return None
        said = 0 if self.finish else self.output_tokens  # some count what was said at the end
        return Usage(
            _count(usage.input_tokens),
            max(_count(usage.output_tokens), said),
            _count(usage.cache_read_tokens),
            _count(usage.cache_write_tokens),
            _count(usage.output_reasoning_tokens),
        )

    async def run(self) -> list[RunEvent]:
        try:
            return await self._ask()
        except (AgentRunError, UserError, NotImplementedError, Unfit) as error:
            self.fault = of_model_error(error, self._wire.secrets)
        except _WRONG_SHAPE as error:
            logger.warning("an answer of %s cannot be read", self._wire.host, exc_info=error)
            self.fault = NO_ANSWER
        return []

    def response(self, events: Sequence[RunEvent]) -> ModelResponse:
        return self._response

    async def _ask(self) -> list[RunEvent]:
        asked = self._wire.asked(self._step, self._limit.sent or self._limit.tokens)
        async with self._wire.model.request_stream(*asked) as stream:
            try:
                await self._listen(stream)
            finally:
                self._response = stream.get()
        return self._ended()

    async def _listen(self, stream: StreamedResponse) -> None:
        async for event in stream:
            events = self._listener.hear(event)
            if events:
                self.shown = True
                self._step.context.emit(events)
            if self._listener.over_limit:
                return

    def _ended(self) -> list[RunEvent]:
        response = self._response
        details: dict[str, Any] = response.provider_details or {}
        self.model = _text(response.model_name)
        self.service_tier = _text(details.get("service_tier"))
        self.finish = _REASONS.get(response.finish_reason)
        if self._listener.over_limit:
            self.finish = "length"
        response.parts = [self._marked(part) for part in response.parts]
        if isinstance(refusal := details.get("refusal"), str) and refusal:
            self.finish = "stop"  # as chat completions have it, with the refusal beside
            response.parts = [*response.parts, refused(refusal)]
            return [RefusalDelta(refusal)]
        if self.finish == "stop" and response.tool_calls:
            self.finish = "tool_calls"
        if self.finish is None:
            self.fault = CUT
        return []

    def _marked(self, part: Any) -> Any:
        if isinstance(part, ToolCallPart) and part.tool_name in self._customs:
            return custom_call(part)
        return part


def _text(said: Any) -> str | None:
    return said if isinstance(said, str) else None


def _count(number: Any) -> int:
    """What a provider counted; 0 for what is no count."""
    return number if isinstance(number, int) and 0 <= number < _MOST_TOKENS else 0


@dataclass(frozen=True, slots=True)
class ForeignWire:
    """`host` is for the log, `secrets` are what no message may quote."""

    spec: ModelSpec
    model: Model[Any]
    profile: ModelProfile
    host: str
    secrets: Sequence[str] = field(repr=False)
    close: Callable[[], Awaitable[None]] = field(repr=False)

    @property
    def thinker(self) -> str | None:
        """Who must have signed the reasoning that goes back to this model."""
        encrypted = self.profile.get("openai_supports_encrypted_reasoning_content", False)
        return self.model.system if self.spec.wire != "responses" or encrypted else None

    def call(self, step: Step, limit: OutputLimit) -> ForeignCall:
        return ForeignCall(self, step, limit)

    def asked(
        self, step: Step, max_tokens: int | None
    ) -> tuple[list[ModelMessage], ModelSettings, ModelRequestParameters]:
        """What the model is called with. Raises Unfit, and what its own checks raise."""
        spec, profile, request = self.spec, self.profile, step.request
        parameters = with_request(step.parameters, request, spec, profile)
        settings = settings_of(request, spec, profile, max_tokens)
        settings = with_choice(settings, request, parameters, spec, profile)
        settings = without_hints(settings, self.model.unsupported_settings)
        messages = outbound(step.messages, ACCEPTED[spec.wire], self.thinker)
        messages = repair_messages(self.model.prepare_messages(messages, parameters))
        return messages, settings, parameters

    async def count(self, step: Step) -> int | Fault | None:
        """The tokens of the input, as the provider counts them; None: it does not."""
        if self.spec.wire == "google":  # whose API counts neither instructions nor tools
            return None
        if not self.profile.get("openai_supports_input_token_counting", True):
            return None
        try:
            messages, settings, parameters = self.asked(step, None)
            usage = await self.model.count_tokens(messages, _uncounted(settings), parameters)
        except NotImplementedError:
            return None
        except (AgentRunError, UserError, Unfit) as error:
            if isinstance(error, ModelHTTPError) and error.status_code in _NOT_THERE:
                return None
            return of_model_error(error, self.secrets)
        except _WRONG_SHAPE as error:
            logger.warning("a count of %s cannot be read", self.host, exc_info=error)
            return NO_ANSWER
        return _count(usage.input_tokens)

    async def aclose(self) -> None:
        await self.close()


def _uncounted(settings: ModelSettings) -> ModelSettings:
    """Without what is added to the body: who counts takes nothing but what adds to the count."""
    body = settings.get("extra_body")
    kept = {"text": body["text"]} if isinstance(body, dict) and "text" in body else None
    return cast(ModelSettings, {**settings, "extra_body": kept})
