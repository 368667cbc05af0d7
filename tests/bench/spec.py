"""What a load generator is to ask for, and how hard; the requests themselves."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

from tests.bench.model import parse_model

PROMPT = "Say the words you know, one after the other, and stop when you have run out of them."


@dataclass(frozen=True)
class Spec:
    """`ask` chat or responses, both streamed, or whole: a chat completion that is not."""

    url: str
    model: str
    connections: int = 1
    requests: int = 1  # over all connections
    warmup: int = 0
    ramp_s: float = 0.0  # the connections begin spread over so long
    timeout_s: float = 60.0  # of one request
    key: str = "bench"
    ask: Literal["chat", "whole", "responses"] = "chat"
    store: bool = False  # of responses
    transcript_bytes: int = 0  # what is said before the prompt, as JSON

    @property
    def tokens(self) -> int:
        """Tokens that each answer must hold."""
        model = parse_model(self.model)
        return model.tokens if model else 0

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def request(self) -> bytes:
        path = "responses" if self.ask == "responses" else "chat/completions"
        body = json.dumps(self._body()).encode()
        head = (
            f"POST /v1/{path} HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\n"
            f"authorization: Bearer {self.key}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _body(self) -> dict[str, Any]:
        about = {"model": self.model, "stream": self.ask != "whole"}
        if self.ask == "responses":
            return {**about, "store": self.store, "input": PROMPT}
        prompt = {"role": "user", "content": PROMPT}
        return {**about, "messages": [*transcript(self.transcript_bytes), prompt]}


def transcript(size: int) -> list[dict[str, Any]]:
    """What an agent has said and done so far: messages of together about `size` bytes of JSON."""
    messages: list[dict[str, Any]] = []
    for message in _work():
        if size <= 0:
            break
        messages.append(message)
        size -= len(json.dumps(message)) + 2
    while messages and "tool_calls" in messages[-1]:
        messages.pop()  # a call without its answer is no transcript
    return messages


def _work() -> Iterator[dict[str, Any]]:
    yield {"role": "system", "content": "You mend programs. Read before you write.\n" * 20}
    for turn in count():
        call_id = f"call_{turn:08}"
        path = f"src/module_{turn}.py"
        called = {"name": "read_file", "arguments": json.dumps({"path": path, "lines": 40})}
        calls = [{"id": call_id, "type": "function", "function": called}]
        code = "".join(f'    if x == {i}:\n        return "{turn}/{i}"\n' for i in range(40))
        yield {"role": "user", "content": f"Now look at {path}, and say what it lacks."}
        yield {"role": "assistant", "content": None, "tool_calls": calls}
        yield {"role": "tool", "tool_call_id": call_id, "content": f"def look(x):\n{code}"}
        yield {"role": "assistant", "content": f'`{path}` never says "none".\n' * 8}
