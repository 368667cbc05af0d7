"""The bench's own parts agree with each other. What they measure is not asserted here."""

import asyncio

import pytest

from tests.bench.load import Load, Spec
from tests.bench.system import relay, upstream


@pytest.mark.parametrize("model", ["burst-16", "paced-5-1000", "sleep-0"])
async def test_every_token_of_the_upstream_passes_the_relay_once_and_in_order(model):
    with upstream() as upstream_port, relay(upstream_port, []) as floor:
        tally = await _tally(Spec(url=floor.url, model=model, connections=2, requests=2))
    assert tally.errors == []
    assert (tally.completed, tally.lost, tally.doubled) == (2, 0, 0)
    assert tally.tokens == 2 * Spec(url="", model=model).tokens


_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s"


@pytest.mark.parametrize(
    ("body", "lost", "doubled", "errors"),
    [
        (b" w0 w1 w2\n[DONE]\n", 0, 0, 0),
        (b" w0 w2\n[DONE]\n", 1, 0, 0),
        (b" w0 w1 w1 w2\n[DONE]\n", 0, 1, 0),
        (b" w0 w1\n[DONE]\n", 1, 0, 0),
        (b" w0 w1 w2\n", 0, 0, 1),
    ],
)
async def test_the_generator_counts_what_is_missing_or_doubled(body, lost, doubled, errors):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_ANSWER % (len(body), body))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        tally = await _tally(Spec(url=f"http://127.0.0.1:{port}", model="burst-3"))
    assert (tally.lost, tally.doubled, len(tally.errors)) == (lost, doubled, errors)


async def test_a_refused_request_is_an_error_with_its_reason():
    with upstream() as port:
        tally = await _tally(Spec(url=f"http://127.0.0.1:{port}", model="other-3"))
    assert tally.completed == 0
    assert tally.errors[0].startswith("status 404")
    assert "no such model" in tally.errors[0]


async def _tally(spec):
    load = Load(spec)
    try:
        return await load.run(spec.requests)
    finally:
        await load.close()
