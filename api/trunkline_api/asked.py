"""What the requests of both APIs ask beyond an answer in words, and where they ask it."""

from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Any, Final

from trunkline_api.abilities import options
from trunkline_api.wire.chat import ChatRequest
from trunkline_api.wire.namespaces import offered
from trunkline_api.wire.response_tools import ReasoningOptions, Text
from trunkline_api.wire.responses import ResponsesRequest

_OPTIONS: Final = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
)
_CHAT_OPTIONS: Final = (
    *_OPTIONS,
    "stop",
    "seed",
    "logit_bias",
    "reasoning_effort",
    "verbosity",
    "prediction",
)
_NESTED: Final = MappingProxyType(
    {"verbosity": "text.verbosity", "reasoning_effort": "reasoning.effort"}
)
_PARTS: Final = MappingProxyType(
    {
        "image_url": "images",
        "input_image": "images",
        "file": "files",
        "input_file": "files",
        "input_audio": "audio",
    }
)


def of_chat(request: ChatRequest) -> Iterator[tuple[str, str]]:
    if request.tools:
        yield "tools", "tools"
    if request.response_format is not None and request.response_format.type != "text":
        yield "formats", "response_format"
    if request.logprobs:
        yield "logprobs", "logprobs"
    for name in options({name: getattr(request, name) for name in _CHAT_OPTIONS}):
        yield name, name
    for index, message in enumerate(request.messages):
        yield from _of_parts(message.content, f"messages[{index}].content")


def of_responses(request: ResponsesRequest) -> Iterator[tuple[str, str]]:
    if any(offered(request.tools)):
        yield "tools", "tools"
    text, reasoning = request.text or Text(), request.reasoning or ReasoningOptions()
    if text.format is not None and text.format.type != "text":
        yield "formats", "text.format"
    if request.wants_logprobs:
        yield "logprobs", "top_logprobs" if request.top_logprobs else "include"
    given = {name: getattr(request, name) for name in _OPTIONS}
    given |= {"verbosity": text.verbosity, "reasoning_effort": reasoning.effort}
    for name in options(given):
        yield name, _NESTED.get(name, name)
    for index, item in enumerate(() if isinstance(request.input, str) else request.input):
        for member in ("content", "output"):
            yield from _of_parts(getattr(item, member, None), f"input[{index}].{member}")


def _of_parts(content: str | Sequence[Any] | None, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(content, list):
        for index, part in enumerate(content):
            ability = _PARTS.get(getattr(part, "type", ""))
            if ability is not None:
                yield ability, f"{where}[{index}]"
