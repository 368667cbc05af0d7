"""openai-python's Responses API, which refuses what deviates from OpenAI's types."""

import json
from typing import Any

import openai
import pydantic
import pytest
from openai.types import responses

from tests.fakes.upstream import words

HELLO = "Say hello please"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: responses.FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "parameters": SCHEMA,
    "strict": True,
}
NEWS: responses.FunctionToolParam = {**WEATHER, "name": "news"}
SHELL: responses.CustomToolParam = {"type": "custom", "name": "shell", "format": {"type": "text"}}


def echoed(client: openai.OpenAI, model: str = "echo-request", **request: Any) -> dict[str, Any]:
    """The body that reached the upstream."""
    reply = client.responses.create(model=model, **{"input": HELLO, "store": False, **request})
    body: dict[str, Any] = json.loads(reply.output_text)
    return body


def streamed(client: openai.OpenAI, **request: Any) -> list[responses.ResponseStreamEvent]:
    events = list(client.responses.create(stream=True, **{"input": HELLO, **request}))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    return events


def last(events: list[responses.ResponseStreamEvent]) -> responses.Response:
    end = events[-1]
    assert end.type in ("response.completed", "response.incomplete", "response.failed")
    response: responses.Response = end.response
    return response


def test_an_answer_is_whole_with_usage_and_a_request_id(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="words-500", input=HELLO)
    assert (reply.output_text, reply.status, reply.model) == (words(500), "completed", "words-500")
    assert reply.id.startswith("resp_") and reply._request_id is not None
    assert reply.completed_at is not None and reply.completed_at >= reply.created_at
    assert reply.usage is not None
    counts = (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.total_tokens)
    assert counts == (3, 500, 503)
    assert reply.usage.input_tokens_details.cache_write_tokens == 0


@pytest.mark.parametrize("model", ["words-500", "split-20", "eager", "slow-20x50", "whole"])
def test_a_stream_adds_up_to_the_answer(client: openai.OpenAI, model: str) -> None:
    expected = {"words-500": words(500), "eager": "all at once", "whole": words(3)}
    events = streamed(client, model=model)
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    final = last(events)
    assert "".join(deltas) == final.output_text == expected.get(model, words(20))
    assert final.usage is not None
    assert [item.status for item in final.output if item.type == "message"] == ["completed"]


def test_the_stream_helper_ends_with_the_final_response(client: openai.OpenAI) -> None:
    with client.responses.stream(model="slow-20x50", input=HELLO) as stream:
        snapshots = [e.snapshot for e in stream if e.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert snapshots[-1] == final.output_text == words(20)
    assert final.usage is not None


def test_reasoning_is_an_item_of_its_own_in_both_modes(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="reasoning", input=HELLO)
    events = streamed(client, model="reasoning")
    deltas = [event.delta for event in events if event.type == "response.reasoning_text.delta"]
    assert "".join(deltas) == "Let me think."
    for response in (reply, last(events)):
        reasoning, message = response.output
        assert reasoning.type == "reasoning" and message.type == "message"
        assert [part.text for part in reasoning.content or ()] == ["Let me think."]
        assert response.output_text == "Done thinking"
        assert response.usage is not None
        assert response.usage.output_tokens_details.reasoning_tokens == 2
        assert response.usage.input_tokens_details.cached_tokens == 1


def test_a_refusal_is_a_part_in_both_modes(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="refusal", input=HELLO)
    [message] = reply.output
    assert message.type == "message" and message.content[0].type == "refusal"
    assert message.content[0].refusal == "I will not."
    deltas = [
        e.delta for e in streamed(client, model="refusal") if e.type == "response.refusal.delta"
    ]
    assert "".join(deltas) == "I will not."


@pytest.mark.parametrize(
    ("model", "reason"), [("length", "max_output_tokens"), ("filter", "content_filter")]
)
def test_what_was_cut_is_incomplete(client: openai.OpenAI, model: str, reason: str) -> None:
    reply = client.responses.create(model=model, input=HELLO)
    for response in (reply, last(streamed(client, model=model))):
        assert response.status == "incomplete"
        assert response.incomplete_details is not None
        assert response.incomplete_details.reason == reason


def test_a_token_limit_cuts_the_answer(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="words-500", input=HELLO, max_output_tokens=16)
    assert (reply.output_text, reply.status, reply.max_output_tokens) == (
        words(16),
        "incomplete",
        16,
    )


def test_log_probabilities_arrive_in_both_modes(client: openai.OpenAI) -> None:
    wanted: Any = {"model": "words-3", "input": HELLO, "top_logprobs": 2}
    wanted["include"] = ["message.output_text.logprobs"]
    reply = client.responses.create(**wanted)
    for response in (reply, last(streamed(client, **wanted))):
        message = response.output[0]
        assert message.type == "message" and message.content[0].type == "output_text"
        assert len(message.content[0].logprobs or ()) == 3


def test_the_input_reaches_the_upstream_in_order(client: openai.OpenAI) -> None:
    sent = echoed(
        client,
        instructions="Be a poet.",
        input=[
            {"role": "developer", "content": "Rhyme."},
            {"role": "user", "content": [{"type": "input_text", "text": "Über Bäume 🌳"}]},
            {"role": "assistant", "content": "Träume, 夢"},
            {"role": "user", "content": "More"},
        ],
    )["messages"]
    assert [(message["role"], message["content"]) for message in sent] == [
        ("system", "Be a poet."),
        ("developer", "Rhyme."),
        ("user", "Über Bäume 🌳"),
        ("assistant", "Träume, 夢"),
        ("user", "More"),
    ]


def test_images_pass_through(client: openai.OpenAI) -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"}
    sent = echoed(client, input=[{"role": "user", "content": [image]}])["messages"]
    url = {"url": "data:image/png;base64,AA", "detail": "low"}
    assert sent[0]["content"] == [{"type": "image_url", "image_url": url}]


def test_sampling_and_format_reach_the_upstream_under_its_names(client: openai.OpenAI) -> None:
    # Of what the model says, which is its request.
    fits = {"type": "object", "properties": {"model": {"type": "string"}}, "required": ["model"]}
    form = {"type": "json_schema", "name": "x", "schema": fits, "strict": True}
    sent = echoed(
        client,
        temperature=0.5,
        top_p=0.9,
        max_output_tokens=100,
        reasoning={"effort": "low"},
        text={"format": form, "verbosity": "low"},
    )
    assert (sent["temperature"], sent["top_p"]) == (0.5, 0.9)
    assert 100 in (sent.get("max_completion_tokens"), sent.get("max_tokens"))
    assert (sent["reasoning_effort"], sent["verbosity"]) == ("low", "low")
    schema = {"name": "x", "schema": fits, "strict": True}
    assert sent["response_format"] == {"type": "json_schema", "json_schema": schema}


def test_tools_of_coding_agents_are_tolerated_and_echoed(client: openai.OpenAI) -> None:
    tools: Any = [
        WEATHER,
        {"type": "web_search"},
        {"type": "namespace", "name": "crm", "description": "CRM", "tools": [WEATHER]},
        {"type": "tool_search", "execution": "client", "description": "Finds", "parameters": {}},
    ]
    sent = [tool["function"]["name"] for tool in echoed(client, tools=tools)["tools"]]
    assert sent == ["weather", "crm__weather"]
    reply = client.responses.create(model="words-3", input=HELLO, tools=tools, tool_choice="auto")
    assert [tool.type for tool in reply.tools] == [
        *("function", "web_search", "namespace", "tool_search")
    ]


def test_functions_and_custom_tools_are_called_and_answered(client: openai.OpenAI) -> None:
    tools: Any = [WEATHER, SHELL, NEWS]
    history: list[Any] = [{"role": "user", "content": HELLO}]
    reply = client.responses.create(model="tools-parallel", input=history, tools=tools)
    function, custom, other = reply.output
    assert function.type == "function_call" and other.type == "function_call"
    assert custom.type == "custom_tool_call"
    assert (function.name, json.loads(function.arguments)) == ("weather", {"city": "text"})
    assert (custom.name, custom.input, other.name) == ("shell", "some free text", "news")
    history += [item.to_dict() for item in reply.output]
    for call in (function, other):
        done = {"type": "function_call_output", "call_id": call.call_id, "output": call.name}
        history.append(done)
    done = {"type": "custom_tool_call_output", "call_id": custom.call_id}
    history.append({**done, "output": [{"type": "input_text", "text": "a file"}]})
    final = client.responses.create(model="tools-parallel", input=history, tools=tools)
    assert final.output_text == "The tool said: a file"


def test_a_streamed_call_adds_up(client: openai.OpenAI) -> None:
    tools: Any = [WEATHER, NEWS, SHELL]
    with client.responses.stream(model="tools-parallel", input=HELLO, tools=tools) as stream:
        events = list(stream)
        final = stream.get_final_response()
    snapshots = [e.snapshot for e in events if e.type == "response.function_call_arguments.delta"]
    assert json.loads(snapshots[-1]) == {"city": "text"}
    done = [e for e in events if e.type == "response.function_call_arguments.done"]
    assert [(event.name, json.loads(event.arguments)) for event in done] == [
        ("weather", {"city": "text"}),
        ("news", {"city": "text"}),
    ]
    first = final.output[0]
    assert first.type == "function_call" and first.parsed_arguments == {"city": "text"}
    inputs = [e.input for e in events if e.type == "response.custom_tool_call_input.done"]
    assert inputs == ["some free text"]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("required", "required"),
        ({"type": "function", "name": "news"}, {"type": "function", "function": {"name": "news"}}),
        ({"type": "custom", "name": "shell"}, {"type": "custom", "custom": {"name": "shell"}}),
    ],
    ids=str,
)
def test_the_choice_among_tools_reaches_the_upstream(
    client: openai.OpenAI, choice: Any, sent: Any
) -> None:
    assert echoed(client, tools=[WEATHER, SHELL, NEWS], tool_choice=choice)["tool_choice"] == sent


class Plan(pydantic.BaseModel):
    title: str
    count: int
    costs: list[float]


def test_parse_gives_the_callers_own_type(client: openai.OpenAI) -> None:
    plan = Plan(title="text", count=1, costs=[])
    reply = client.responses.parse(model="json", input=HELLO, text_format=Plan)
    assert reply.output_parsed == plan
    with client.responses.stream(model="json", input=HELLO, text_format=Plan) as stream:
        assert stream.get_final_response().output_parsed == plan


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({"background": True, "store": False}, "background"),
        ({"truncation": "middle"}, "truncation"),
        ({"max_output_tokens": 1}, "max_output_tokens"),
        ({"tools": [{"type": "file_search", "vector_store_ids": []}]}, "tools[0].type"),
        ({"previous_response_id": "resp_unknown"}, "previous_response_id"),
    ],
)
def test_bad_requests_name_the_field(client: openai.OpenAI, request_: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="words-3", input=HELLO, **request_)
    assert caught.value.param == param


@pytest.mark.parametrize("stream", [True, False])
def test_failures_before_the_first_output_are_statuses(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="nobody", input=HELLO, stream=stream)
    with pytest.raises(openai.RateLimitError):
        client.responses.create(model="status-429", input=HELLO, stream=stream)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="context-length", input=HELLO, stream=stream)
    assert caught.value.code == "context_length_exceeded"


def test_a_failure_after_output_ends_the_stream_with_response_failed(client: openai.OpenAI) -> None:
    events = streamed(client, model="error-chunk")
    assert events[-1].type == "response.failed"
    error = last(events).error
    assert error is not None and error.code == "server_error" and error.message
    assert last(events).status == "failed"
