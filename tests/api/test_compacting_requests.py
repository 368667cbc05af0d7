"""Who asks for a compaction where there is nothing to seal it with is told by what."""

from typing import Any

import pytest

from tests.api.fake_store import FakeStore
from tests.api.responses_bodies import ASKS
from tests.api.test_responses_route import TEXTS, Asked


@pytest.mark.parametrize(
    ("members", "param"),
    [
        (
            {"context_management": [{"type": "compaction", "compact_threshold": 1000}]},
            "context_management",
        ),
        ({"input": [ASKS, {"type": "compaction_trigger"}]}, "input[1]"),
    ],
)
async def test_the_member_that_asks_for_it_is_named(members: dict[str, Any], param: str) -> None:
    reply = await Asked(*TEXTS, store=FakeStore(None)).ask(**members)
    assert (reply.status, reply.error["param"]) == (400, param)
    assert "TRUNKLINE_SECRET_KEY" in reply.error["message"]
