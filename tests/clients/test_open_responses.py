"""Streams and resources by the rules of Open Responses, whatever the run does."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.clients.conftest import API_KEY
from tests.clients.open_responses import (
    Json,
    check_resource,
    check_stream,
    events_of,
    only_the_last_item_is_cut_and_its_response_with_it,
)
from tests.clients.test_responses_python import NEWS, SHELL, WEATHER
from tests.fakes.system import System, upstream_agent
from tests.fakes.upstream import words
from tests.fakes.upstream_plan import plan

TASK = {"calls": [("read_tasks", {})]}
BOTH = plan(
    {"say": "I plan. ", **TASK}, {"say": "And look. ", "calls": [("weather", {"city": "x"})]}
)

RUNS: dict[str, tuple[str, Json]] = {
    "text": ("completed", {"model": "words-500"}),
    "pieces of text": ("completed", {"model": "split-20"}),
    "log probabilities": ("completed", {"model": "words-3", "top_logprobs": 2}),
    "json": ("completed", {"model": "json", "text": {"format": {"type": "json_object"}}}),
    "reasoning": ("completed", {"model": "reasoning", "reasoning": {"summary": "auto"}}),
    "refusal": ("completed", {"model": "refusal"}),
    "calls": ("completed", {"model": "tools-parallel", "tools": [WEATHER, SHELL, NEWS]}),
    "own calls": ("completed", {"model": "plan-tasks", "input": plan(TASK, {"say": "Done."})}),
    "a failed own call": (
        "completed",
        {"model": "plan-tasks", "input": plan({"calls": [("remove_task", {"task_id": "no"})]})},
    ),
    "own and others' calls": (
        "completed",
        {"model": "plan-tasks", "input": BOTH, "tools": [WEATHER]},
    ),
    "failure": ("failed", {"model": "error-chunk"}),
    "a broken stream": ("failed", {"model": "cut-3"}),
    "a filter": ("incomplete", {"model": "filter"}),
    "a limit": ("incomplete", {"model": "words-500", "max_output_tokens": 16}),
    "a limit of calls": (
        "incomplete",
        {"model": "plan-tasks", "input": plan(TASK, TASK, {"say": "Done."}), "max_tool_calls": 1},
    ),
}


@pytest.fixture
def http(system: System) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {API_KEY}"}
    with httpx.Client(base_url=system.base_url(), headers=headers, timeout=60) as http:
        yield http


def streamed(http: httpx.Client, **request: Any) -> list[Json]:
    reply = http.post("/responses", json={"input": "Go", "stream": True, **request})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    return events_of(reply.text)


@pytest.mark.parametrize("background", [False, True], ids=["plain", "background"])
@pytest.mark.parametrize("run", RUNS)
def test_a_stream_keeps_the_rules_and_is_kept_as_it_was_told(
    http: httpx.Client, run: str, background: bool
) -> None:
    status, request = RUNS[run]
    events = streamed(http, **request, background=background)
    final = check_stream(events)
    only_the_last_item_is_cut_and_its_response_with_it(final)
    assert final["status"] == status
    stored = http.get(f"/responses/{final['id']}").json()
    # Who replied and who stored it looked at different clocks.
    assert {**stored, "completed_at": 0} == {**final, "completed_at": 0}
    replayed = http.get(f"/responses/{final['id']}", params={"stream": "true"})
    again = events_of(replayed.text)
    check_stream(again)
    assert again[:-1] == events[:-1]


@pytest.mark.parametrize("run", RUNS)
def test_a_whole_reply_keeps_the_rules(http: httpx.Client, run: str) -> None:
    status, request = RUNS[run]
    reply = http.post("/responses", json={"input": "Go", **request})
    value = reply.json()
    if status == "failed":
        assert reply.status_code >= 500
        assert value["error"].keys() == {"message", "type", "param", "code"}
        return
    assert reply.headers["content-type"] == "application/json"
    check_resource(value)
    only_the_last_item_is_cut_and_its_response_with_it(value)
    assert value["status"] == status
    stored = http.get(f"/responses/{value['id']}").json()
    assert {**stored, "completed_at": 0} == {**value, "completed_at": 0}


def test_a_reader_that_cannot_go_on_is_told_so_in_both_shapes(http: httpx.Client) -> None:
    final = streamed(http, model="words-3")[-1]["response"]
    query = {"stream": "true", "starting_after": "999"}
    [error] = events_of(http.get(f"/responses/{final['id']}", params=query).text)
    assert error["type"] == "error"
    nested = error["error"]
    assert nested.keys() == {"type", "code", "message", "param"}
    assert {member: error[member] for member in ("code", "message", "param")} == {
        member: nested[member] for member in ("code", "message", "param")
    }


@pytest.mark.redis
def test_a_stream_keeps_the_rules_when_its_worker_dies(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    agents = {"slow-60x50": upstream_agent("slow-60x50")}
    with System(tmp_path_factory.mktemp("rules"), {"agents": agents}) as system:
        request = {"model": "slow-60x50", "input": "Go", "stream": True}
        url, body = f"{system.base_url()}/responses", ""
        with httpx.stream("POST", url, json=request, timeout=60) as reply:
            for text in reply.iter_text():
                if "w5 " in text:
                    system.kill_worker(0)
                    system.start_worker()
                body += text
    events = events_of(body)
    final = check_stream(events)
    assert [item["status"] for item in final["output"]] == ["incomplete", "completed"]
    assert final["output"][1]["content"][0]["text"] == words(60)
