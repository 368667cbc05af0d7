"""A fake server of OpenAI's Responses API on loopback, scripted by the model's name.

`FakeResponses` is what `FakeUpstream` is; as a process: `python -m tests.fakes.responses --port 0`.
It answers `POST /v1/responses`, always in a stream, and `POST /v1/responses/input_tokens`.

Models (N, R, K numbers); with `gpt-5-` before their names they count as such. Words
are `w0 w1 w2 ...`, of which `max_output_tokens` cuts those of words-N and slow-NxR: see `words(n)`.

    words-N          N words in one write
    greedy-N         N words, whatever max_output_tokens says
    slow-NxR         N words, R a second
    reasoning        a summary of its reasoning, encrypted reasoning, then an answer
    refusal          a refusal
    tools            calls the first (or the named) tool; after a tool's result: repeats that
    tools-parallel   calls every tool
    json             the least object that fits the json_schema; `{}` for json_object
    filter           three words, incomplete for `content_filter`
    context-length   400 context_length_exceeded
    no-quota         429 insufficient_quota
    status-S         status S (429 with `retry-after: 30`, 401 quoting the key)
    flaky-K, busy-K  the first K calls 500, or 429 with `retry-after-ms: 20`; then `words-3`
    failed           two words, then response.failed
    error-chunk      two words, then an error event
    cut-N            N words, then the socket is closed
    silence-N        N words, then nothing, the socket stays open
    unfinished-N     N words, then the body ends without a last event
    hang             not even a status line
    garbage          two words, then a line that is no JSON
    html             status 200 with a page of HTML
"""

import asyncio
import json
from dataclasses import dataclass, field

from tests.fakes.responses_scripts import answer_to
from tests.fakes.upstream import FakeUpstream, main, words
from tests.fakes.upstream_scripts import failure_of
from tests.fakes.upstream_wire import Json, Reply

__all__ = ["FakeResponses", "words"]


@dataclass
class FakeResponses(FakeUpstream):
    """`counted` has the bodies of which the tokens were counted: as many as bytes."""

    asked_at = "/v1/responses"
    counted: list[Json] = field(default_factory=list)

    def reply(self, body: Json, headers: dict[str, str], call: int) -> Reply:
        return failure_of(body, headers, call) or answer_to(body)

    def other(self, path: str, raw: bytes) -> Reply:
        if not path.endswith("/input_tokens"):
            return super().other(path, raw)
        body = json.loads(raw)
        self.counted.append(body)
        counted = {"object": "response.input_tokens", "input_tokens": len(raw)}
        return failure_of(body, {}, 1) or Reply.of_json(counted)


if __name__ == "__main__":
    asyncio.run(main(FakeResponses))
