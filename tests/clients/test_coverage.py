"""docs/api.md says of every field that OpenAI's client knows what becomes of it, and is right."""

import re
from pathlib import Path
from typing import Any, get_type_hints

import httpx
import openai
import pytest
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params

from tests.clients.conftest import API_KEY
from tests.fakes.system import System

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text("utf-8")
HELLO: Any = [{"role": "user", "content": "Hello"}]
FUNCTION: Any = {"name": "look", "parameters": {"type": "object", "properties": {}}}
SAMPLING: dict[str, Any] = {
    "metadata": {"a": "b"},
    "parallel_tool_calls": True,
    "prompt_cache_key": "key",
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
    "safety_identifier": "someone",
    "service_tier": "auto",
    "stream_options": {"include_obfuscation": False},
    "temperature": 0.5,
    "tool_choice": "auto",
    "top_p": 0.9,
    "user": "me",
    "model": "words-3",
    "moderation": {"model": "omni-moderation-latest"},
    "stream": True,
}
CHAT = SAMPLING | {
    "messages": HELLO,
    "audio": {"voice": "alloy", "format": "wav"},
    "frequency_penalty": 0.5,
    "function_call": "auto",
    "functions": [FUNCTION],
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "max_completion_tokens": 100,
    "max_tokens": 100,
    "modalities": ["text"],
    "n": 1,
    "prediction": {"type": "content", "content": "Hello"},
    "presence_penalty": 0.5,
    "reasoning_effort": "low",
    "response_format": {"type": "text"},
    "seed": 1,
    "stop": ["END"],
    "store": False,
    "tools": [{"type": "function", "function": FUNCTION}],
    "top_logprobs": 2,
    "verbosity": "low",
    "web_search_options": {},
}
RESPONSES = SAMPLING | {
    "input": "Hello",
    "access_programs": {"trusted_access_program": True},
    "background": True,
    "background_options": {"completion_window": "1h"},
    "context_management": [{"type": "compaction", "compact_threshold": 100_000}],
    "conversation": {"id": "01234567-89ab-4def-8123-456789abcdef"},
    "image": {},
    "include": ["reasoning.encrypted_content"],
    "instructions": "Be brief.",
    "max_output_tokens": 100,
    "max_tool_calls": 3,
    "previous_response_id": None,  # one that there is
    "prompt": {"id": "pmpt_1"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "store": True,
    "text": {"format": {"type": "text"}, "verbosity": "low"},
    "tools": [{"type": "function", **FUNCTION}],
    "top_logprobs": 2,
    "truncation": "disabled",
}
NEEDED = {"stream_options": ["stream"], "top_logprobs": ["logprobs"], "tool_choice": ["tools"]}


def rows(section: str) -> dict[str, str]:
    """What the table says of each field: what becomes of it, in one word."""
    said: dict[str, str] = {}
    for line in PAGE.split(f"## {section}\n")[1].split("\n## ")[0].splitlines():
        if line.startswith("| `"):
            fields, what = line.split(" | ", 1)
            verdict = re.search(r"applied|echoed|tolerated|refused|handed on", what)
            assert verdict, line
            for field in re.findall(r"`([a-z_]+)", fields):
                said.setdefault(field, verdict[0])
    return said


COVERED = [
    *(("Chat completions", field) for field in CHAT),
    *(("Responses", field) for field in RESPONSES),
]


def test_every_field_that_the_client_knows_has_a_row() -> None:
    chat = get_type_hints(completion_create_params.CompletionCreateParamsStreaming)
    responses = get_type_hints(response_create_params.ResponseCreateParamsStreaming)
    assert CHAT.keys() == chat.keys() and RESPONSES.keys() == responses.keys()
    assert chat.keys() - rows("Chat completions: request fields") == set()
    assert responses.keys() - rows("Responses: request fields") == set()


@pytest.mark.parametrize(("api", "field"), COVERED, ids=lambda value: str(value))
def test_a_field_is_refused_if_its_row_says_so(
    client: openai.OpenAI, system: System, api: str, field: str
) -> None:
    is_chat = api != "Responses"
    values = CHAT if is_chat else RESPONSES
    body = {"model": "words-3", **({"messages": HELLO} if is_chat else {"input": "Hello"})}
    body |= {each: values[each] for each in (field, *NEEDED.get(field, ())) if each in values}
    if field == "previous_response_id":
        body[field] = client.responses.create(model="words-3", input="Hello").id
    url = f"{system.base_url()}/{'chat/completions' if is_chat else 'responses'}"
    reply = httpx.post(url, json=body, headers={"authorization": f"Bearer {API_KEY}"}, timeout=60)
    if rows(f"{api}: request fields")[field] == "refused":
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, field)
    else:
        assert reply.status_code == 200, reply.text


def test_every_endpoint_has_a_row(system: System) -> None:
    def anonymous(text: str) -> str:
        return re.sub(r"\{\w+\}", "{}", text)

    listed = anonymous("".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)))
    document = httpx.get(f"{system.url()}/openapi.json").json()
    paths = [path for path in document["paths"] if not path.startswith("/api/")]
    assert [path for path in paths if f"{anonymous(path)}`" not in listed] == []
