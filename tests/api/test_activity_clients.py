"""Clients that know nothing of activities take a stream that tells them, and lose nothing of it."""

from typing import Any

from langchain_openai import ChatOpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.api.fake_gateway import ScriptedChat, application
from tests.api.test_activity import READ, RUN
from tests.api.test_openai_client import client
from tests.api.uvicorn_server import Serving
from trunkline_shared.events import Finished, RunEvent, TextDelta, ToolArgsDelta, ToolCallStart

ASKED = {"X-Trunkline-Events": "tools"}
HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
SAID = "Let me look.\n\nDone."


async def test_the_official_client_reads_a_stream_and_finds_activities_beside_it() -> None:
    async with Serving(application(ScriptedChat(RUN))) as url, client(url) as api:
        stream = await api.chat.completions.create(
            model="echo", messages=HI, stream=True, extra_headers=ASKED
        )
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == SAID
    told: list[Any] = [chunk.model_extra["trunkline"] for chunk in chunks if chunk.model_extra]
    assert [each["activity"]["index"] for each in told] == [0, 0, 0, 0, 0, 1, 1]


async def test_its_stream_helper_adds_up_the_same_answer() -> None:
    call: list[RunEvent] = [ToolCallStart(0, "c", "f"), ToolArgsDelta(0, "{}")]
    script = [*RUN[:-1], *call, Finished("tool_calls")]
    asked: Any = {"model": "echo", "messages": HI, "extra_headers": ASKED}
    async with (
        Serving(application(ScriptedChat(script))) as url,
        client(url) as api,
        api.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream,
    ):
        final = await stream.get_final_completion()
    message = final.choices[0].message
    assert message.content == SAID
    assert [call.id for call in message.tool_calls or ()] == ["c"]
    assert final.usage is not None


async def test_it_reads_a_whole_completion_with_activities() -> None:
    async with Serving(application(ScriptedChat(RUN))) as url, client(url) as api:
        reply = await api.chat.completions.create(model="echo", messages=HI, extra_headers=ASKED)
    extra: Any = reply.model_extra
    assert reply.choices[0].message.content == SAID
    assert [each["name"] for each in extra["trunkline"]["activities"]] == ["read", "write"]


async def test_langchain_takes_both() -> None:
    script: list[RunEvent] = [*READ, TextDelta("Hello"), Finished("stop")]
    async with Serving(application(ScriptedChat(script))) as url:
        model = ChatOpenAI(
            model="echo",
            base_url=f"{url}/v1",
            api_key="k",  # type: ignore[arg-type]  # as its users write it
            default_headers=ASKED,
            stream_usage=True,
        )
        assert "".join([chunk.text async for chunk in model.astream("hi")]) == "Hello"
        assert (await model.ainvoke("hi")).text == "Hello"
