"""POST /v1/responses/input_tokens: a run that only counts what it would have read."""

from collections.abc import Callable
from dataclasses import dataclass

from trunkline_api.auth import Principal
from trunkline_api.conversation_id import check_named
from trunkline_api.headers import Headers
from trunkline_api.input_only import InputOnlyQuestion
from trunkline_api.prior import Prior
from trunkline_api.render.response import error_of
from trunkline_api.submission import Kept
from trunkline_api.wire.input_only import Estimate, InputTokens, parse_input_tokens
from trunkline_shared.events import Failed, Usage
from trunkline_shared.fold import Folded
from trunkline_shared.run import ESTIMATED, RunRequest


@dataclass(slots=True)
class InputTokensQuestion(InputOnlyQuestion):
    """A request to count, for `trunkline_api.answer.Answer`."""

    async def ask(self, run: RunRequest, principal: Principal) -> Kept:
        self.request = await self.prior.fill_in(run, self.request, principal.name)
        run.purpose = "count"
        return Kept()

    def reply(self, run: RunRequest, folded: Folded) -> bytes:
        end = folded.terminal
        if isinstance(end, Failed):
            raise error_of(end)
        is_estimate = end is not None and end.detail == ESTIMATED
        counted = InputTokens(
            input_tokens=(folded.usage or Usage()).input_tokens,
            trunkline=Estimate() if is_estimate else None,
        )
        return counted.model_dump_json(exclude_none=True).encode()


def input_tokens_question(prior: Prior) -> Callable[[bytes, Headers], InputTokensQuestion]:
    """What makes a question of a body, and raises ApiError 400."""

    def question(body: bytes, headers: Headers) -> InputTokensQuestion:
        asked = InputTokensQuestion(parse_input_tokens(body), prior)
        check_named(asked.conversation, headers)
        return asked

    return question
