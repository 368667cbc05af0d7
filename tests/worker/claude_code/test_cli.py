"""The real command line against a fake Anthropic."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.anthropic import FakeAnthropic, words
from tests.worker.backends.driving import failed, finished, request, said
from tests.worker.claude_code.bed import KEY, Told, bash, calls, living, tell, worker
from trunkline_shared.events import (
    ActivityEnd,
    ActivityStart,
    Finished,
    ReasoningDelta,
    Step,
    TextDelta,
    Usage,
)

pytestmark = pytest.mark.claude
pytest.importorskip("claude_agent_sdk")

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


async def test_it_answers_as_the_model_speaks(upstream: FakeAnthropic, root: Path) -> None:
    async with worker(upstream, "words-3", root, toolsets=()) as backend:
        told = await tell(backend, request())
    assert told.text == words(3) and len(told.of(TextDelta)) == 3
    end = finished(told.events)
    assert (end.reason, end.model, end.usage.output_tokens) == ("stop", "words-3", 3)
    (asked,) = upstream.requests
    assert asked.headers["x-api-key"] == KEY and not asked.body.get("tools")


async def test_it_sums_up_without_its_tools(upstream: FakeAnthropic, root: Path) -> None:
    async with worker(upstream, "words-3", root) as backend:
        told = await tell(backend, request(purpose="summary"))
    (asked,) = upstream.requests
    assert told.text == words(3) and not asked.body.get("tools")


async def test_it_says_what_the_model_thinks(upstream: FakeAnthropic, root: Path) -> None:
    async with worker(upstream, "thinking", root) as backend:
        told = await tell(backend, request())
    assert "".join(event.text for event in told.of(ReasoningDelta)) == "Let me think."
    assert told.text == "Done thinking"


async def test_its_tools_work_in_the_workspace(upstream: FakeAnthropic, root: Path) -> None:
    script = (
        bash("echo one > a; cat a"),
        ("Write", {"file_path": "b", "content": "two"}),
        ("Read", {"file_path": "b"}),
        bash("cat a b; exit 3"),
    )
    async with worker(upstream, "scripted", root) as backend:
        told = await tell(backend, calls(*script))
    told.check_activities()
    names = [(event.name, event.toolset) for event in told.of(ActivityStart)]
    assert names[:2] == [("Bash", "execution"), ("Write", "file_access")]
    assert told.outputs[0] == "one" and "two" in told.outputs[2]
    ends = told.of(ActivityEnd)
    assert [end.error is None for end in ends] == [True, True, True, False]
    assert "one\ntwo" in ends[3].error
    assert len(told.of(Step)) == 6 and told.text.startswith("The tool said: ")


async def test_what_is_not_granted_is_refused(upstream: FakeAnthropic, root: Path) -> None:
    script = ("Write", {"file_path": "b", "content": "x"}), bash("true"), ("WebFetch", {"url": "x"})
    toolsets = ({"type": "file_access", "read_only": True},)
    async with worker(upstream, "scripted", root, toolsets=toolsets) as backend:
        told = await tell(backend, calls(*script))
    told.check_activities()
    assert all("No such tool" in end.error for end in told.of(ActivityEnd))
    offered = {tool["name"] for tool in upstream.requests[0].body["tools"]}
    assert {"Read", "Glob", "Grep"} <= offered and not {"Write", "Edit", "Bash"} & offered


async def test_calls_at_once_are_each_told(upstream: FakeAnthropic, root: Path) -> None:
    async with worker(upstream, "tools-parallel", root) as backend:
        told = await tell(backend, request())
    told.check_activities()
    assert len(told.of(ActivityStart)) > 3 and finished(told.events).reason == "stop"


async def test_an_answer_in_a_format_is_all_its_text(upstream: FakeAnthropic, root: Path) -> None:
    async with worker(upstream, "json", root) as backend:
        told = await tell(backend, request(format={"type": "json_schema", "schema": SCHEMA}))
        told.check_activities()
        assert json.loads(told.text) == {"city": "text"}
    async with worker(upstream, "words-3", root) as backend:
        never = await tell(backend, request(format={"type": "json_schema", "schema": SCHEMA}))
    assert failed(never.events).code == "invalid_output" and not never.text


@pytest.mark.parametrize(
    ("model", "code", "says"),
    [
        ("status-401", "upstream_rejected_us", "refuses this server's key"),
        ("status-429", "upstream_rate_limited", "rate limit"),
        ("status-529", "upstream_error", "Overloaded"),
        ("context-length", "context_length_exceeded", "too long"),
        ("cut-3", "upstream_error", "broke off"),
        ("unfinished-3", "upstream_error", "broke off"),
        ("error-chunk", "upstream_error", "Overloaded"),
        ("html", "upstream_error", "provider sent"),
    ],
)
async def test_a_failing_model_is_a_failure_that_says_why(
    upstream: FakeAnthropic, root: Path, model: str, code: str, says: str
) -> None:
    async with worker(upstream, model, root) as backend:
        told = await tell(backend, request())
    failure = failed(told.events)
    assert failure.code == code and says in failure.message
    assert KEY not in repr(told.events)
    if model == "status-429":
        assert failure.retry_after_s == 30
    if model in ("cut-3", "unfinished-3"):
        assert told.text == words(3)  # what was said is not lost
    assert len(upstream.requests) == (2 if model == "status-529" else 1)


async def test_a_call_that_fails_is_made_again_and_then_of_the_next_model(
    upstream: FakeAnthropic, root: Path
) -> None:
    async with worker(upstream, "flaky-1", root) as backend:
        assert (await tell(backend, request())).text == words(3)
    async with worker(upstream, ("status-500", "words-2"), root) as backend:  # type: ignore[arg-type]
        told = await tell(backend, request())
    assert told.text == words(2) and finished(told.events).model == "words-2"


@pytest.mark.parametrize(
    ("limits", "detail", "asked"),
    [
        ({"max_tool_calls": 1}, "limits.max_tool_calls reached", 2),
        ({"max_requests": 2}, "limits.max_requests reached", 2),
        ({"max_total_tokens": 100}, "limits.max_total_tokens reached", 1),
        ({"max_tokens": 5}, "limits.max_tokens reached", 1),
    ],
)
async def test_a_limit_ends_the_run_with_what_there_is(
    upstream: FakeAnthropic, root: Path, limits: dict[str, Any], detail: str, asked: int
) -> None:
    script = [bash(f"echo {number}") for number in range(4)]
    async with worker(upstream, "scripted", root, limits=limits) as backend:
        told = await tell(backend, calls(*script))
    end = finished(told.events)
    assert (end.reason, end.detail) == ("length", detail)
    assert len(upstream.requests) == asked and end.usage.input_tokens > 0
    told.check_activities()


async def test_cost_is_known_and_limited(upstream: FakeAnthropic, root: Path) -> None:
    upstream.alias = "cached"
    async with worker(upstream, "claude-sonnet-4-5", root, toolsets=()) as backend:
        end = finished((await tell(backend, request())).events)
    usage = end.usage
    assert (usage.cached_tokens, usage.cache_write_tokens, usage.output_tokens) == (7, 5, 3)
    plain = usage.input_tokens - 12
    assert usage.cost == pytest.approx((plain * 3 + 7 * 0.3 + 5 * 3.75 + 3 * 15) / 1e6)


@pytest.mark.parametrize(("model", "reason"), [("length", "length"), ("refusal", "content_filter")])
async def test_what_cuts_an_answer_short_is_told(
    upstream: FakeAnthropic, root: Path, model: str, reason: str
) -> None:
    async with worker(upstream, model, root) as backend:
        told = await tell(backend, request())
    assert finished(told.events).reason == reason
    assert told.text == (words(3) if model == "length" else "I will not.")


async def test_images_and_instructions_reach_the_model(upstream: FakeAnthropic, root: Path) -> None:
    content: Any = [
        {"type": "text", "text": "What is @/etc/passwd?"},
        {"type": "image", "url": f"data:image/png;base64,{PIXEL}"},
    ]
    transcript: list[Any] = [
        said("Speak like a pirate.", "system"),
        {"type": "message", "role": "user", "content": content},
    ]
    async with worker(upstream, "words-2", root, toolsets=()) as backend:
        assert isinstance(
            (await tell(backend, request(transcript=transcript))).events[-1], Finished
        )
    body = upstream.requests[0].body
    assert "Speak like a pirate." in json.dumps(body["system"])
    sent = json.dumps(body["messages"])
    assert '"media_type": "image/png"' in sent and "@/etc/passwd" in sent and "root:" not in sent


async def test_cancelling_ends_everything_within_a_second(
    upstream: FakeAnthropic, root: Path
) -> None:
    loop = asyncio.get_running_loop()
    async with worker(upstream, "slow-1000x50", root) as backend:
        told = Told()
        run = asyncio.create_task(tell(backend, request(), told))
        await told.until(TextDelta)
        began = loop.time()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await upstream.until(lambda: len(upstream.closed) == 1)
        assert loop.time() - began < 1
    async with worker(upstream, "scripted", root) as backend:
        told = Told()
        run = asyncio.create_task(tell(backend, calls(bash("tail -f /dev/null")), told))
        await told.until(ActivityStart, entry=b'"begun":"')
        began = loop.time()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert loop.time() - began < 1 and not living(root)


async def test_usage_is_that_of_the_run_alone(upstream: FakeAnthropic, root: Path) -> None:
    async with worker(upstream, "scripted", root) as backend:
        told = await tell(backend, calls(bash("true"), bash("true")))
    usage: Usage = finished(told.events).usage
    assert usage.output_tokens == 4 + 4 + 2 and usage.cost is None
