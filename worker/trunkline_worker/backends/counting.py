"""How many tokens a request has, for runs that are only to tell that."""

from collections.abc import Iterator
from typing import Final

import orjson

from trunkline_shared.config.models import AgentConfig
from trunkline_shared.events import Finished, Usage
from trunkline_shared.run import ESTIMATED, RunRequest
from trunkline_shared.transcript import Part

BYTES_PER_TOKEN: Final = 4
MESSAGE_TOKENS: Final = 4  # who speaks, and where it ends
MEDIA_TOKENS: Final = 1000  # an image, a file, a sound: it depends on what is in it


def counted(tokens: int, model: str | None = None) -> Finished:
    """The end of a run that counts, where somebody counted."""
    return Finished("stop", Usage(tokens), model)


def estimated(request: RunRequest, agent: AgentConfig) -> Finished:
    """The same where nobody counts: what the model reads as UTF-8, four bytes to a token."""
    texts = [*agent.system_prompt, *_texts(request)]
    size = sum(len(text.encode(errors="replace")) for text in texts)
    if request.tools:
        size += len(orjson.dumps(request.tools))
    if request.format is not None and "schema" in request.format:
        size += len(orjson.dumps(request.format["schema"]))
    messages = len(agent.system_prompt) + len(request.transcript)
    media = sum(part["type"] in ("image", "audio", "file") for part in _parts(request))
    tokens = -(-size // BYTES_PER_TOKEN) + messages * MESSAGE_TOKENS + media * MEDIA_TOKENS
    return Finished("stop", Usage(tokens), detail=ESTIMATED)


def _texts(request: RunRequest) -> Iterator[str]:
    for part in _parts(request):
        if part["type"] in ("text", "refusal"):
            yield part["text"]
    for item in request.transcript:
        if item["type"] == "tool_call":
            yield item["name"]
            yield item["arguments"]


def _parts(request: RunRequest) -> Iterator[Part]:
    for item in request.transcript:
        if item["type"] in ("message", "tool_result"):
            yield from item["content"]
