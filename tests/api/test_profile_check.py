"""What the end of a check says about a profile; see tests/flow/test_profiles.py for whole ones."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.api.fake_answer import FakeRelay
from trunkline_api.auth import Principal
from trunkline_api.errors import ApiError
from trunkline_api.profile_check import VALID, ProfileCheck, verdict
from trunkline_api.relay import RunLost
from trunkline_api.wire.profiles import ProfileValidated
from trunkline_shared.config.models import Config
from trunkline_shared.errors import Refused
from trunkline_shared.events import Attempt, Failed, Finished, TextDelta
from trunkline_shared.profile import PROFILE_AGENT, profile_agent
from trunkline_shared.run import RunRequest


class FakeFollow:
    reply = "back"

    def __init__(self, *script: Any, refusal: Exception | None = None) -> None:
        self.relay = FakeRelay(script)
        self.refusal = refusal
        self.requests: list[RunRequest] = []

    @asynccontextmanager
    async def run(
        self, request: RunRequest, admission: Any, client: Any
    ) -> AsyncIterator[FakeRelay]:
        self.requests.append(request)
        if self.refusal is not None:
            raise self.refusal
        yield self.relay


async def check(follow: FakeFollow, timeout_s: float = 5.0) -> ProfileValidated:
    agent = profile_agent(Config(path="a.yml", agents={}))
    checks = ProfileCheck(follow, agent, timeout_s=timeout_s)  # type: ignore[arg-type]
    return await checks.check("openhands_x", "sealed", Principal("me"), None)  # type: ignore[arg-type]


async def test_a_check_is_a_run_of_one_token_that_is_part_of_nothing() -> None:
    follow = FakeFollow([Attempt(1)], [TextDelta("pong"), Finished("length")])
    assert await check(follow) is VALID
    (run,) = follow.requests
    assert (run.agent, run.model, run.profile) == (PROFILE_AGENT, "openhands_x", "sealed")
    assert run.options == {"max_output_tokens": 16}
    assert (run.conversation, run.store, run.stream) == ("", False, False)


async def test_a_model_that_is_slower_than_the_bound_is_not_wrong() -> None:
    silence = [None] * 100
    assert await check(FakeFollow([Attempt(1)], *silence), timeout_s=0.1) is VALID


async def test_a_check_that_no_worker_took_in_time_says_so() -> None:
    with pytest.raises(ApiError) as error:
        await check(FakeFollow(*[None] * 100), timeout_s=0.1)
    assert (error.value.status, error.value.code) == (503, "queue_timeout")


async def test_a_check_that_was_not_admitted_or_got_lost_is_no_verdict() -> None:
    with pytest.raises(Refused):
        await check(FakeFollow(refusal=Refused("queue_full", "Full.", 1.0)))
    with pytest.raises(ApiError) as error:
        await check(FakeFollow(RunLost("gone")))
    assert error.value.code == "run_lost"


def test_a_model_that_could_not_finish_its_one_token_was_reached() -> None:
    said = "Could not finish the message because max_tokens or model output limit was reached."
    assert verdict(Failed("invalid_request", said)) is VALID


@pytest.mark.parametrize("code", ["worker_lost", "redis_unavailable", "server_error", "cancelled"])
def test_faults_of_ours_are_no_verdict(code: Any) -> None:
    with pytest.raises(ApiError) as error:
        verdict(Failed(code, "Ours."))
    assert error.value.code == code
