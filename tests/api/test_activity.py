"""What an agent does itself, as each of the APIs shows it."""

from typing import Any

import orjson
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.api.conversation_bed import turn
from tests.api.fake_answer import Reply
from tests.api.test_responses_request import run as responses_run
from trunkline_api.conversation_events import events_of
from trunkline_api.render.chat import ChatRenderer
from trunkline_api.render.completion import render_completion
from trunkline_api.render.response import About
from trunkline_api.render.responses import ResponsesRenderer, render_response
from trunkline_api.wire import chat_reply, response_reply
from trunkline_shared.events import (
    ActivityArgs,
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    Attempt,
    Failed,
    Finished,
    ReasoningDelta,
    RunEvent,
    Step,
    TextDelta,
)
from trunkline_shared.fold import Fold, Folded, said
from trunkline_shared.run import new_run_id
from trunkline_shared.transcript import Item

STREAM_EVENT: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
RUN_ID = new_run_id(1_700_000_000_123)
ABOUT = About(RUN_ID, "m", {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []})
START = ActivityStart(0, "a1", "read", "files")
READ: list[RunEvent] = [START, ActivityArgs(0, '{"p":'), ActivityArgs(0, "1}")]
RUN: list[RunEvent] = [
    *(TextDelta("Let me look."), Step(), *READ, ActivityOutput(0, "contents"), ActivityEnd(0)),
    *(ActivityStart(1, "a2", "write", "files"), ActivityEnd(1, "read only")),
    *(TextDelta("Done."), Finished("stop")),
]


def folded(*events: RunEvent) -> Folded:
    fold = Fold(lambda: 1.5)
    fold.add(1, events)
    return fold.result()


def chunks(*events: RunEvent, show_tools: bool = True) -> list[dict[str, Any]]:
    renderer = ChatRenderer(RUN_ID, "m", include_usage=True, show_tools=show_tools)
    sent = b"".join(renderer.render([event]) for event in events)
    data = [block.removeprefix(b"data: ") for block in sent.split(b"\n\n")[:-1]]
    return [orjson.loads(each) for each in data if each.startswith(b"{")]


def pieces(*events: RunEvent) -> list[dict[str, Any]]:
    return [each["trunkline"]["activity"] for each in chunks(*events) if "trunkline" in each]


def test_chat_shows_text_alone_unless_it_is_asked_for_more() -> None:
    plain = chunks(*RUN, show_tools=False)
    assert [each["choices"][0]["delta"].get("content") for each in plain[:2]] == [
        "Let me look.",
        "\n\nDone.",
    ]
    assert not any("trunkline" in each for each in plain)
    assert "trunkline" not in orjson.loads(render_completion(RUN_ID, "m", folded(*RUN)))


def test_chunks_tell_activities_piece_by_piece_beside_an_empty_delta() -> None:
    assert pieces(*RUN) == [
        {"index": 0, "id": "a1", "toolset": "files", "name": "read", "status": "in_progress"},
        {"index": 0, "arguments": '{"p":'},
        {"index": 0, "arguments": "1}"},
        {"index": 0, "output": "contents"},
        {"index": 0, "status": "completed", "error": None},
        {"index": 1, "id": "a2", "toolset": "files", "name": "write", "status": "in_progress"},
        {"index": 1, "status": "failed", "error": "read only"},
    ]
    for each in chunks(*RUN):
        chat_reply.ChatCompletionChunk.model_validate(each, strict=True)
        ChatCompletionChunk.model_validate(each)
        if "trunkline" in each:
            assert each["choices"][0]["delta"] == {} and each["usage"] is None


def test_the_first_chunk_has_the_role_whatever_it_tells() -> None:
    first, second, *_ = chunks(*READ, TextDelta("a"))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert second["choices"][0]["delta"] == {}


@pytest.mark.parametrize("end", [Attempt(2), Failed("run_timeout", ""), Finished("length")])
def test_chunks_tell_that_an_activity_was_interrupted(end: RunEvent) -> None:
    assert pieces(*READ, end)[-1] == {"index": 0, "status": "incomplete", "error": None}


def test_a_whole_completion_lists_activities_when_asked() -> None:
    body = orjson.loads(render_completion(RUN_ID, "m", folded(*RUN), show_tools=True))
    chat_reply.ChatCompletion.model_validate(body, strict=True)
    ChatCompletion.model_validate(body)
    assert body["choices"][0]["message"]["content"] == "Let me look.\n\nDone."
    first, second = body["trunkline"]["activities"]
    assert first == {
        "id": "a1",
        "toolset": "files",
        "name": "read",
        "arguments": '{"p":1}',
        "output": "contents",
        "status": "completed",
        "error": None,
    }
    assert (second["status"], second["error"]) == ("failed", "read only")


@pytest.mark.parametrize("show_tools", [False, True])
def test_an_activity_is_output_where_it_is_shown(show_tools: bool) -> None:
    for event in (*READ, ActivityOutput(0, "x"), ActivityEnd(0)):
        renderer = ChatRenderer(RUN_ID, "m", include_usage=False, show_tools=show_tools)
        renderer.render([START])
        assert renderer.shows_output(event) == show_tools == bool(renderer.render([event]))


async def test_the_header_asks_for_them_and_what_it_may_not_say_is_refused() -> None:
    for value, shown in ((b"tools", True), (b"Tools, ", True), (b"", False)):
        for stream in (True, False):
            reply = Reply(RUN)
            reply.sent_headers = [(b"x-trunkline-events", value)]
            await reply.ask(stream=stream)
            assert (b'"trunkline"' in reply.body) == shown
    reply = Reply(RUN)
    reply.sent_headers = [(b"x-trunkline-events", b"tools,thoughts")]
    await reply.ask()
    assert (reply.status, reply.error["param"]) == (400, "X-Trunkline-Events")


def items_of(*events: RunEvent) -> list[dict[str, Any]]:
    output: list[dict[str, Any]] = orjson.loads(render_response(ABOUT, folded(*events)))["output"]
    return output


def test_a_response_has_mcp_calls_in_their_places() -> None:
    body = orjson.loads(render_response(ABOUT, folded(*RUN)))
    Response.model_validate(body, strict=True)
    _, read, write, _ = body["output"]
    assert read == {
        "type": "mcp_call",
        "id": f"mcp_{RUN_ID}_1",
        "status": "completed",
        "server_label": "files",
        "name": "read",
        "arguments": '{"p":1}',
        "output": "contents",
        "error": None,
        "approval_request_id": None,
    }
    told = [{"type": "text", "text": "read only"}]
    assert write["error"] == {"type": "mcp_tool_execution_error", "content": told}
    assert (write["status"], write["output"]) == ("failed", None)
    response_reply.ItemObject.model_validate(read)


def test_a_stream_tells_of_an_mcp_call_as_openai_does() -> None:
    renderer = ResponsesRenderer(ABOUT, lambda: 1.5)
    sent = b"".join(renderer.render([event]) for event in RUN)
    events = [orjson.loads(block.partition(b"\ndata: ")[2]) for block in sent.split(b"\n\n")[:-1]]
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    for each in events:
        STREAM_EVENT.validate_python(each)
    mine = [each for each in events if each.get("output_index") in (1, 2)]
    assert [each["type"].removeprefix("response.") for each in mine] == [
        "output_item.added",
        "mcp_call.in_progress",
        "mcp_call_arguments.delta",
        "mcp_call_arguments.delta",
        "mcp_call_arguments.done",
        "mcp_call.completed",
        "output_item.done",
        "output_item.added",
        "mcp_call.in_progress",
        "mcp_call_arguments.done",
        "mcp_call.failed",
        "output_item.done",
    ]
    assert mine[4]["arguments"] == '{"p":1}' and mine[0]["item"]["arguments"] == ""
    output = events[-1]["response"]["output"]
    assert output == items_of(*RUN) and output[1] == mine[6]["item"]


def test_what_was_interrupted_is_no_call_whose_arguments_are_done() -> None:
    renderer = ResponsesRenderer(ABOUT)
    sent = renderer.render([*READ, Attempt(2)])
    assert b"arguments.done" not in sent and b'"status":"incomplete"' in sent


def test_an_item_that_comes_back_is_the_same_pair_as_in_the_stored_history() -> None:
    sent: Any = [{"role": "user", "content": "hi"}, *items_of(*RUN)]
    _, *back = responses_run(input=sent).transcript
    stored = said(folded(*RUN))
    names = {"a1": f"mcp_{RUN_ID}_1", "a2": f"mcp_{RUN_ID}_2"}
    assert back == [{**item, "id": names[item["id"]]} if "id" in item else item for item in stored]


@pytest.mark.parametrize(
    ("members", "text", "is_error"),
    [
        ({"output": "ok"}, "ok", False),
        ({}, "The call was interrupted; what it did before is not known.", True),
        ({"error": "no"}, "no", True),
        ({"error": {"type": "http_error", "code": 500, "message": "away"}}, "away", True),
        ({"error": {"type": "mcp_tool_execution_error", "content": 5}}, "The call failed.", True),
    ],
)
def test_results_of_mcp_calls_are_read_in_all_their_shapes(
    members: dict[str, Any], text: str, is_error: bool
) -> None:
    item = {"type": "mcp_call", "id": "m1", "server_label": "s", "name": "f", "arguments": "{}"}
    result = responses_run(input=[{"role": "user", "content": "x"}, item | members]).transcript[-1]
    assert result["type"] == "tool_result"
    assert result["content"] == [{"type": "text", "text": text}]
    assert result.get("is_error", False) == is_error


def test_a_conversations_events_are_actions_and_observations_of_openhands() -> None:
    own: list[Item] = said(folded(*RUN))
    [events] = events_of([turn(said=own)])
    _, _, action, observation, _, failed, _ = events
    assert (action["kind"], action["tool_name"]) == ("ActionEvent", "read")
    assert action["action"] == {"kind": "MCPToolAction", "data": {"p": 1}}
    assert observation["action_id"] == action["id"]
    told = observation["observation"]
    assert (told["kind"], told["tool_name"], told["is_error"]) == (
        "MCPToolObservation",
        "read",
        False,
    )
    assert told["content"][0]["text"] == "contents"
    assert failed["observation"]["is_error"]


def test_a_limit_that_ended_the_run_is_named() -> None:
    end = Finished("length", detail="limits.max_tool_calls reached")
    *_, last, _ = chunks(TextDelta("a"), end, show_tools=False)
    assert last["trunkline"] == {"detail": end.detail}
    chat_reply.ChatCompletionChunk.model_validate(last)
    body = orjson.loads(render_completion(RUN_ID, "m", folded(*READ, end), show_tools=True))
    assert body["trunkline"].keys() == {"detail", "activities"}
    response = orjson.loads(render_response(ABOUT, folded(end)))
    assert response["incomplete_details"] == {"reason": "max_output_tokens", "detail": end.detail}
    Response.model_validate(response, strict=True)


@pytest.mark.parametrize(
    "events",
    [
        [TextDelta("a"), *READ, TextDelta("b"), TextDelta("c")],
        [*READ, TextDelta("a"), ReasoningDelta("hm"), TextDelta("b")],
        [TextDelta(""), *READ, TextDelta(""), TextDelta("a"), Step(), TextDelta("b")],
        [TextDelta("a"), *READ, ActivityEnd(0), *READ, TextDelta(""), TextDelta("b")],
        [TextDelta("a"), *READ, ReasoningDelta("hm"), TextDelta("b"), TextDelta("c")],
    ],
)
def test_texts_stand_apart_where_the_agent_acted_between_them(events: list[RunEvent]) -> None:
    whole = orjson.loads(render_completion(RUN_ID, "m", folded(*events, Finished("stop"))))
    content = whole["choices"][0]["message"]["content"]
    deltas = [each["choices"][0]["delta"] for each in chunks(*events)]
    assert "".join(delta.get("content") or "" for delta in deltas) == content
    acted = [at for at, event in enumerate(events) if isinstance(event, ActivityStart)]
    assert ("\n\n" in content) == (content[0] == "a" and events[0] == TextDelta("a"))
    assert content.replace("\n\n", "") in ("ab", "abc") and acted
