"""What AgentPool's page "OpenAI API Server" shows, called as it is shown there.

Only the URL and the key differ.
"""

import json
from typing import Any

import openai
import pytest
from langchain_openai import ChatOpenAI
from openai import OpenAI

from tests.clients.conftest import SESSION_KEY
from tests.clients.curl import JSON, curl
from tests.fakes.system import System
from tests.fakes.upstream import words

KEY = ("-H", f"Authorization: Bearer {SESSION_KEY}")


@pytest.fixture(scope="module")
def system(session_system: System) -> System:
    return session_system


@pytest.fixture
def client(system: System) -> Any:
    with OpenAI(base_url=system.base_url(), api_key=SESSION_KEY) as client:
        yield client


def say_hello(**more: Any) -> tuple[str, str]:
    messages = [{"role": "user", "content": "Hello!"}]
    return "-d", json.dumps({"model": "assistant", "messages": messages, **more}, indent=2)


def test_curl_lists_the_agents_as_models(system: System) -> None:
    listed = json.loads(curl(f"{system.base_url()}/models", *KEY))
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == [
        "assistant",
        "coder",
        "gpt-4-custom",
        "my-agent",
    ]
    for model in listed["data"]:
        assert model.keys() >= {"id", "object", "created", "owned_by"}
        assert model["object"] == "model" and model["created"] > 0


@pytest.mark.parametrize("more", [{}, {"stream": False}], ids=str)
def test_curl_asks_for_a_completion(system: System, more: dict[str, Any]) -> None:
    url = f"{system.base_url()}/chat/completions"
    reply = json.loads(curl(url, "-X", "POST", *KEY, *JSON, *say_hello(**more)))
    assert reply["object"] == "chat.completion" and reply["model"] == "assistant"
    [choice] = reply["choices"]
    assert (choice["message"]["role"], choice["message"]["content"]) == ("assistant", words(500))
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [reply["usage"][name] for name in counts] == [1, 500, 501]


def test_curl_asks_for_a_stream(system: System) -> None:
    url = f"{system.base_url()}/chat/completions"
    printed = curl(url, "-X", "POST", *KEY, *JSON, *say_hello(stream=True))
    *lines, done = [line for line in printed.splitlines() if line and not line.startswith(":")]
    assert done == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines]
    text = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks]
    assert "".join(text) == words(500)
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_curl_asks_for_a_response(system: System) -> None:
    body = {"model": "assistant", "input": "Tell me a story about a robot."}
    url = f"{system.base_url()}/responses"
    reply = json.loads(curl(url, "-X", "POST", *KEY, *JSON, "-d", json.dumps(body)))
    assert (reply["object"], reply["status"]) == ("response", "completed")
    assert reply["output"][0]["content"][0]["text"] == words(500)


@pytest.mark.parametrize("key", [(), ("-H", "Authorization: Bearer wrong")], ids=["none", "wrong"])
def test_curl_without_the_right_key_is_refused(system: System, key: tuple[str, ...]) -> None:
    for path in ("/models", "/chat/completions"):
        options = say_hello() if path != "/models" else ()
        printed = curl(system.base_url() + path, *key, *JSON, *options, "-w", "\n%{http_code}")
        body, _, status = printed.rpartition("\n")
        assert status == "401"
        assert json.loads(body)["error"]["code"] == "invalid_api_key"


def test_openais_client_gets_an_answer(client: OpenAI) -> None:
    response = client.chat.completions.create(
        model="assistant", messages=[{"role": "user", "content": "Hello!"}]
    )
    assert response.choices[0].message.content == words(500)


def test_openais_client_prints_a_stream_as_it_comes(
    client: OpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = client.chat.completions.create(
        model="assistant",
        messages=[{"role": "user", "content": "Tell me a story"}],
        stream=True,
    )
    for chunk in stream:
        if chunk.choices[0].delta.content:
            print(chunk.choices[0].delta.content, end="")
    assert capsys.readouterr().out == words(500)


def test_openais_client_gets_a_response(client: OpenAI) -> None:
    response = client.responses.create(model="assistant", input="Tell me a story about a robot.")
    assert response.output_text == words(500)


def test_langchain_gets_an_answer(system: System) -> None:
    llm = ChatOpenAI(base_url=system.base_url(), api_key=SESSION_KEY, model="assistant")
    assert llm.invoke("What is the meaning of life?").content == words(500)


def test_other_agents_answer_by_their_names(system: System, client: OpenAI) -> None:
    hello: Any = [{"role": "user", "content": "Hello"}]
    response = client.chat.completions.create(model="my-agent", messages=hello)
    assert response.choices[0].message.content == words(3)
    client.chat.completions.create(model="gpt-4-custom", messages=hello)
    sent = system.upstream.requests()[-1]["body"]["messages"]
    assert sent == [{"role": "system", "content": "You are a helpful assistant."}, *hello]
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-4", messages=hello)


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_reference_is_served(system: System, path: str) -> None:
    assert "<html" in curl(system.url() + path)
    assert json.loads(curl(f"{system.url()}/openapi.json"))["paths"]["/v1/chat/completions"]
