"""POST /v1/responses/compact: a run that sums a conversation up, told as what takes its place."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from trunkline_api.auth import Principal
from trunkline_api.compactions import Compactions
from trunkline_api.errors import SERVER_ERROR, ApiError, invalid
from trunkline_api.headers import Headers
from trunkline_api.input_only import InputOnlyQuestion
from trunkline_api.prior import Prior
from trunkline_api.render.input_items import item_values
from trunkline_api.render.response import error_of, response_id, usage_value
from trunkline_api.submission import Kept
from trunkline_api.wire.input_only import parse_compact
from trunkline_shared.compaction import INSTRUCTIONS, asking, kept, problem, summarized
from trunkline_shared.events import Failed, Usage
from trunkline_shared.fold import Folded
from trunkline_shared.run import RunRequest, created_ms
from trunkline_shared.transcript import Item


@dataclass(slots=True)
class CompactQuestion(InputOnlyQuestion):
    """A request to compact, for `trunkline_api.answer.Answer`."""

    compactions: Compactions
    items: list[Item] = field(default_factory=list)
    """The whole conversation, once it was asked for."""

    async def ask(self, run: RunRequest, principal: Principal) -> Kept:
        self.request = await self.prior.fill_in(run, self.request, principal.name)
        self.items = run.transcript
        if not self.items:
            raise invalid("input", "There is nothing to compact: send at least one item.")
        run.transcript = [asking(self.items)]
        run.instructions = "\n\n".join(filter(None, [run.instructions, INSTRUCTIONS]))
        run.purpose = "summary"
        return Kept()

    def reply(self, run: RunRequest, folded: Folded) -> bytes:
        """Raises ApiError also where the summary is not whole."""
        items = summarized(self.items, _summary(folded))
        compaction = {
            "type": "compaction",
            "id": f"cmp_{run.run_id}",
            "encrypted_content": self.compactions.seal(items, run.principal),
        }
        value: dict[str, Any] = {
            "id": response_id(run.run_id),
            "object": "response.compaction",
            "created_at": created_ms(run.run_id) // 1000,
            "output": [*item_values(kept(self.items), run.run_id), compaction],
            "usage": usage_value(folded.usage or Usage()),
        }
        return orjson.dumps(value)


def _summary(folded: Folded) -> str:
    if isinstance(folded.terminal, Failed):
        raise error_of(folded.terminal)
    if (message := problem(folded)) is not None:
        raise ApiError(502, message, SERVER_ERROR, "no_summary", should_retry=False)
    return folded.text.strip()


def compact_question(
    prior: Prior, compactions: Compactions
) -> Callable[[bytes, Headers], CompactQuestion]:
    """What makes a question of a body, and raises ApiError 400."""

    def question(body: bytes, _: Headers) -> CompactQuestion:
        compactions.check()
        return CompactQuestion(parse_compact(body), prior, compactions)

    return question
