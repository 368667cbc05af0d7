"""Whether a profile works: a few tokens are asked of its model, by a run in a worker."""

import asyncio
from collections.abc import Mapping
from typing import Final

from trunkline_api.auth import Principal
from trunkline_api.client import AsgiClient
from trunkline_api.errors import from_failure
from trunkline_api.exchange import Receive
from trunkline_api.follow import Follow
from trunkline_api.hub import ReaderClosed
from trunkline_api.relay import RunLost
from trunkline_api.submission import Admission
from trunkline_api.wire.profiles import ProfileError, ProfileValidated
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.events import Attempt, Failed, RunEvent
from trunkline_shared.run import RunRequest, new_run_id

CHECK_TIMEOUT_S: Final = 15.0

_TOKENS: Final = 16  # OpenAI's Responses API takes no less
VALID: Final = ProfileValidated(valid=True)

# OpenHands' names. What passes by itself says nothing about the profile, and is no error there.
_TYPES: Final[Mapping[str, str]] = {
    "upstream_rejected_us": "LLMAuthenticationError",
    "invalid_request": "LLMBadRequestError",
    "agent_unavailable": "LLMBadRequestError",
    "context_length_exceeded": "LLMContextWindowExceedError",
    "upstream_error": "LLMServiceUnavailableError",
    "upstream_rate_limited": "LLMRateLimitError",
}
_NO_ROOM: Final = "output limit was reached"  # a model that thinks first does not get to a token
_SPENT: Final = "quota is used up"  # which only passes when somebody pays
_PASSING: Final = frozenset({"upstream_rate_limited", "upstream_timeout"})


class ProfileCheck:
    """Runs checks as the agent of all profiles."""

    def __init__(
        self, follow: Follow, agent: AgentConfig, *, timeout_s: float = CHECK_TIMEOUT_S
    ) -> None:
        self._follow = follow
        self._agent = agent
        self._timeout_s = timeout_s

    async def check(
        self, model: str, sealed: str, principal: Principal, receive: Receive
    ) -> ProfileValidated:
        """What the profile's model says to a ping. Raises ApiError where no worker could ask it,
        and what `Follow.run` raises."""
        agent = self._agent
        run = RunRequest(
            run_id=new_run_id(),
            agent=agent.name,
            model=model,
            pool=agent.pool,
            principal=principal.name,
            reply=self._follow.reply,
            transcript=[
                {"type": "message", "role": "user", "content": [{"type": "text", "text": "ping"}]}
            ],
            options={"max_output_tokens": _TOKENS},
            profile=sealed,
        )
        admission = Admission(agent, principal.max_concurrent)
        said: list[RunEvent] = []
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._follow.run(run, admission, AsgiClient(receive)) as relay,
            ):
                while not relay.ended:
                    for batch in await relay.next(self._timeout_s) or ():
                        said += batch.events
        except (RunLost, ReaderClosed):
            raise from_failure(Failed("run_lost", "The check got lost; try again.")) from None
        except TimeoutError:
            if any(isinstance(event, Attempt) for event in said):
                return VALID  # slow, which is not wrong
            words = "No worker was free to ask the profile's model; try again later."
            raise from_failure(Failed("queue_timeout", words)) from None
        return verdict(said[-1])


def verdict(end: RunEvent) -> ProfileValidated:
    """What the end of the run says about the profile. Raises ApiError if it says nothing."""
    if not isinstance(end, Failed) or _NO_ROOM in end.message:
        return VALID
    if end.code in _PASSING and _SPENT not in end.message:
        return VALID
    if end.code not in _TYPES:
        raise from_failure(end)
    kind = "NotFoundError" if "(status 404)" in end.message else _TYPES[end.code]
    return ProfileValidated(valid=False, error=ProfileError(type=kind, message=end.message))
