"""A fake Anthropic server on loopback, scripted by the model's name.

`FakeAnthropic` is what `FakeUpstream` is, with `base_url` as Anthropic's clients want it, without
`/v1`; as a process: `python -m tests.fakes.anthropic --port 0`. It answers `POST /v1/messages`
and `POST /v1/messages/count_tokens`.

Models (N, R, K numbers); all answer streamed or whole, as asked. Those that count words honour
`max_tokens` and `stop_sequences`. Words are `w0 w1 w2 ...`: see `words(n)`.

    words-N          N words in one write
    slow-NxR         N words, R a second
    thinking         two pieces of thinking, its signature, then an answer
    tools            calls the first (or the named) tool; after a tool's result: repeats that
    tools-parallel   calls every tool, or one where the caller wants no more at once
    scripted         calls as the last user text that holds `[[tool, input], ...]` says, one an
                     answer; after the last: repeats its result
    json             the least object that fits `output_config`'s schema, else that of the named
                     tool, that for answers, or the last, as a call; after its result: `Done`
    cached           three words, usage with tokens read from and written to the cache
    echo-request     the request body as text
    length, refusal  three words and stop reason `max_tokens`; `I will not.` and `refusal`
    context-length   400 prompt is too long
    status-S         status S (429 with `retry-after: 30`, 401 quoting the key, 529 overloaded)
    flaky-K, busy-K  the first K calls 500, or 429 with `retry-after-ms: 20`; then `words-3`
    cut-N            N words, then the socket is closed
    silence-N        N words, then nothing, the socket stays open
    unfinished-N     N words, then the body ends without stop reason and message_stop
    hang             not even a status line
    error-chunk      two words, then an error event
    garbage          two words, then a line that is no JSON
    html             status 200 with a page of HTML
"""

import asyncio
import json

from tests.fakes.anthropic_scripts import reply_to
from tests.fakes.anthropic_wire import input_tokens
from tests.fakes.upstream import FakeUpstream, main
from tests.fakes.upstream_scripts import words
from tests.fakes.upstream_wire import Json, Reply

__all__ = ["FakeAnthropic", "words"]


class FakeAnthropic(FakeUpstream):
    asked_at = "/v1/messages"

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reply(self, body: Json, headers: dict[str, str], call: int) -> Reply:
        return reply_to(body, headers, call)

    def other(self, path: str, raw: bytes) -> Reply:
        if path.endswith("/count_tokens"):
            return Reply.of_json({"input_tokens": input_tokens(json.loads(raw))})
        return super().other(path, raw)


if __name__ == "__main__":
    asyncio.run(main(FakeAnthropic))
