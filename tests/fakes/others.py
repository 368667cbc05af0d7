"""Google's, Cohere's and Bedrock's APIs as fakes on loopback, scripted by the model's name.

`FakeOthers` is what `FakeUpstream` is, and tells by the path who is asked:
`/v1beta/models/M:streamGenerateContent`, `/v2/chat`, `/model/M/converse-stream`. It streams.

Models (N, R, S numbers). Words are `w0 w1 w2 ...`: see `words(n)`.

    words-N     N words, no more than the request allows
    slow-NxR    N words, R a second
    thinking    `Let me think.`, then an answer
    tools       calls the first tool with `{"at": "x"}`; after a tool's result: repeats that
    cut-N       N words, then the socket is closed
    status-S    status S, with a message that quotes the key
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.fakes.others_wire import Api, Piece, Said, bedrock, cohere, google
from tests.fakes.upstream import FakeUpstream, Seen
from tests.fakes.upstream_wire import CUT, Json, Reply

_PATHS: Final[tuple[tuple[re.Pattern[str], Api], ...]] = (
    (re.compile(r"/models/(?P<model>[^/:]+):streamGenerateContent$"), google),
    (re.compile(r"/model/(?P<model>[^/]+)/converse-stream$"), bedrock),
    (re.compile(r"/v2/chat$"), cohere),
)


class FakeOthers(FakeUpstream):
    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, connection: Any, path: str, headers: dict[str, str], raw: bytes) -> Reply:
        for pattern, api in _PATHS:
            if (found := pattern.search(path)) is not None:
                body = json.loads(raw)
                model = found.groupdict().get("model") or body["model"]
                self.requests.append(Seen(model, body, headers, time.monotonic()))
                self.open[connection] = model
                self.note()
                return _reply(model, body, headers, api)
        return super().answer(connection, path, headers, raw)


def _reply(model: str, body: Json, headers: dict[str, str], api: Api) -> Reply:
    name, _, argument = model.partition("-")
    if name == "status":
        key = headers.get("x-goog-api-key") or headers.get("authorization", "")
        message = f"status {argument} for {key.removeprefix('Bearer ')}"
        return Reply.of_json(api.error(int(argument), message), int(argument))
    said = _SAID.get(name, _words)(argument, body, api)
    return Reply(api.stream(model, said), 200, api.content_type, chunked=True)


def _words(argument: str, body: Json, api: Api) -> Said:
    amount, _, rate = argument.partition("x")
    most = api.max_tokens(body) or int(amount)
    pieces: list[Piece] = []
    for number in range(min(int(amount), most)):
        pieces += [1 / float(rate)] if rate else []
        pieces.append(("text", f"w{number} "))
    return Said(pieces, "length" if most < int(amount) else "stop")


def _cut(argument: str, body: Json, api: Api) -> Said:
    return Said([*_words(argument, body, api).pieces, CUT], "stop")


def _thinking(_: str, body: Json, api: Api) -> Said:
    return Said([("thought", "Let me "), ("thought", "think."), ("text", "Done")], "stop")


def _tools(_: str, body: Json, api: Api) -> Said:
    results = [*_strings(api.last_result(body))]
    if results:
        return Said([("text", f"The tool said: {results[-1]}")], "stop")
    return Said([("call", api.first_tool(body))], "tool_calls")


def _strings(value: Any) -> Iterator[str]:
    """The texts in a result, however it is wrapped."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings(each)


_SAID: Final[dict[str, Callable[[str, Json, Api], Said]]] = {
    "cut": _cut,
    "thinking": _thinking,
    "tools": _tools,
}
