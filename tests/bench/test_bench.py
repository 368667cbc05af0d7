"""The bench's own parts agree with each other. What they measure is not asserted here."""

import asyncio
import json
from contextlib import contextmanager

import pytest

from tests.bench.cancels import cancels
from tests.bench.case import Case, Scale
from tests.bench.load import Load
from tests.bench.rounds import run
from tests.bench.spec import Spec, transcript
from tests.bench.system import System, relay, stats, trunkline, upstream
from tests.bench.trips import per_run, watched
from tests.patience import until


@pytest.mark.parametrize(
    "model", ["burst-16", "paced-5-1000", "sleep-0", "nap-5", "hold-5-0", "drip-5-1000-0"]
)
async def test_every_token_of_the_upstream_passes_the_relay_once_and_in_order(model):
    with upstream() as upstream_port, relay(upstream_port, []) as floor:
        tally = await _tally(Spec(url=floor.url, model=model, connections=2, requests=2))
    _is_whole(tally, 2, Spec(url="", model=model).tokens)


@pytest.mark.parametrize("model", ["burst-16", "nap-5"])
async def test_so_does_every_token_of_an_answer_that_is_not_streamed(model):
    with upstream() as upstream_port, relay(upstream_port, []) as floor:
        asked = Spec(url=floor.url, model=model, connections=2, requests=4, ask="whole")
        tally = await _tally(asked)
    _is_whole(tally, 4, asked.tokens)


_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s"


def _whole(content):
    return json.dumps({"choices": [{"message": {"content": content}}]}).encode()


def _told(*kinds_and_words):
    events = [{"type": f"response.{kind}", "delta": words} for kind, words in kinds_and_words]
    return b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)


@pytest.mark.parametrize(
    ("ask", "body", "lost", "doubled", "errors"),
    [
        ("chat", b" w0 w1 w2\n[DONE]\n", 0, 0, 0),
        ("chat", b" w0 w2\n[DONE]\n", 1, 0, 0),
        ("chat", b" w0 w1 w1 w2\n[DONE]\n", 0, 1, 0),
        ("chat", b" w0 w1\n[DONE]\n", 1, 0, 0),
        ("chat", b" w0 w1 w2\n", 0, 0, 1),
        ("whole", _whole(" w0 w1 w2"), 0, 0, 0),
        ("whole", _whole(" w0 w2 w1"), 1, 1, 0),
        ("whole", _whole(" w0"), 2, 0, 0),
        ("whole", _whole(None), 3, 0, 0),
        ("whole", b'{"choices": []}', 3, 0, 1),
        ("whole", b" w0 w1 w2", 3, 0, 1),
        ("responses", _told(("output_text.delta", " w0 w1 w2"), ("completed", "")), 0, 0, 0),
        ("responses", _told(("output_text.delta", " w0 w2"), ("completed", "")), 1, 0, 0),
        ("responses", _told(("output_text.delta", " w0 w1 w2"), ("failed", "")), 0, 0, 1),
    ],
)
async def test_the_generator_counts_what_is_missing_or_doubled(ask, body, lost, doubled, errors):
    tally = await _tally_of_answer(body, ask)
    assert (tally.lost, tally.doubled, len(tally.errors)) == (lost, doubled, errors)


async def test_what_later_events_of_a_response_repeat_is_not_doubled():
    text = " w0 w1 w2"
    repeats = [("output_text.done", text), ("output_item.done", text), ("completed", text)]
    _is_whole(await _tally_of_answer(_told(("output_text.delta", text), *repeats), "responses"))


async def test_a_refused_request_is_an_error_with_its_reason():
    with upstream() as port:
        tally = await _tally(Spec(url=f"http://127.0.0.1:{port}", model="other-3"))
    assert tally.completed == 0
    assert tally.errors[0].startswith("status 404")
    assert "no such model" in tally.errors[0]


@pytest.mark.parametrize("model", ["hold-5-600", "drip-5-1000-600"])
async def test_the_upstream_tells_which_streams_have_said_all_and_are_not_over(model):
    with upstream() as port:
        load = Load(Spec(url=f"http://127.0.0.1:{port}", model=model, connections=2, requests=2))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load.run(2))
            await until(lambda: stats(port) == {"streams": 2, "holding": 2, "requests": 2})
            await load.close()
        await until(lambda: stats(port) == {"streams": 0, "holding": 0, "requests": 2})


def test_a_transcript_is_of_the_size_asked_for_and_has_an_answer_to_every_call():
    messages = transcript(200_000)
    assert 190_000 < len(json.dumps(messages)) < 202_000
    assert {message["role"] for message in messages} == {"system", "user", "assistant", "tool"}
    called = [call["id"] for m in messages for call in m.get("tool_calls", ())]
    assert called == [m["tool_call_id"] for m in messages if m["role"] == "tool"]
    assert transcript(0) == []


@pytest.mark.redis
async def test_trunkline_answers_every_kind_of_load_and_grows_by_workers():
    with upstream() as port, trunkline(port, ["burst-16"], slots=4) as system:
        for ask in ("chat", "whole", "responses"):
            sizes = {"connections": 2, "requests": 4, "transcript_bytes": 20_000}
            asked = Spec(url=system.url, model="burst-16", ask=ask, store=True, **sizes)
            with watched(system.redis) as counts:
                _is_whole(await _tally(asked), 4, 16)
            assert per_run(counts, 4)["trips.submit"] == 1
        system.grow(3)
        assert {"worker", "worker2", "worker3"} < system.pids.keys()
        assert min(system.cpu().values()) > 0


@pytest.mark.redis
def test_cancels_are_counted_when_the_upstream_is_left_alone():
    scale = Scale(cancels=2, cancel_among=3)
    with upstream() as port, trunkline(port, [scale.endless_model], slots=4) as system:
        figures = cancels(system, port, scale)
        assert figures["bad"] == 0
        assert 0 < figures["reply_p50_ms"] <= figures["over_p50_ms"] <= figures["over_p99_ms"]
        assert stats(port)["requests"] == 5


@pytest.mark.redis
def test_what_a_script_calls_is_no_round_trip(redis_server):
    with redis_server.client() as client, watched(client) as counts:
        client.eval("redis.call('SET', 'a', 1) return redis.call('GET', 'a')", 0)
        client.get("a")
        client.ping()
    assert per_run(counts, 2) == {"trips.eval": 0.5, "trips.get": 0.5, "trips": 1, "writes": 0}


def test_a_system_is_not_asked_for_what_it_lacks():
    @contextmanager
    def start(_port, _models):
        yield System("peer", 0, {}, lacks=frozenset({"second"}))

    cases = [Case(name, "", ("peer",), lambda *_: {"cpu": 1.0}) for name in ("first", "second")]
    results = run(cases, ["peer"], 2, Scale(), {"peer": start})
    assert results == {"first": {"peer": [{"cpu": 1.0}] * 2}, "second": {"peer": []}}


def _is_whole(tally, requests=1, tokens=3):
    assert tally.errors == []
    assert (tally.completed, tally.lost, tally.doubled) == (requests, 0, 0)
    assert tally.tokens == requests * tokens == tally.by_tenth.total()


async def _tally_of_answer(body, ask):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_ANSWER % (len(body), body))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        return await _tally(Spec(url=f"http://127.0.0.1:{port}", model="burst-3", ask=ask))


async def _tally(spec):
    load = Load(spec)
    try:
        return await load.run(spec.requests)
    finally:
        await load.close()
