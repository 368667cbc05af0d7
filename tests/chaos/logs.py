"""What Redis knows of runs, read as an operator would."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import redis

from tests.fakes.process import LoggedProcess
from trunkline_shared.events import Attempt, RunEvent, TextDelta
from trunkline_shared.frame import decode_frame
from trunkline_shared.keys import Keys

KEYS = Keys()


@dataclass(frozen=True)
class Entry:
    epoch: int
    last_seq: int
    first_seq: int
    events: list[RunEvent]


def entries(client: redis.Redis, run_id: str) -> list[Entry]:
    """The log of one run, whole."""
    found = []
    for stream_id, fields in client.xrange(KEYS.log(run_id)):
        epoch, _, last_seq = stream_id.decode().partition("-")
        found.append(Entry(int(epoch), int(last_seq), *decode_frame(fields[b"f"])))
    return found


def attempts(client: redis.Redis, run_id: str) -> list[int]:
    """Redis time in ms of each attempt: an attempt's epoch is the time of its claim."""
    return [
        entry.epoch
        for entry in entries(client, run_id)
        if any(isinstance(event, Attempt) for event in entry.events)
    ]


def assert_gapless(client: redis.Redis, run_id: str) -> None:
    """Every event once, in order."""
    following = 1
    for entry in entries(client, run_id):
        assert entry.first_seq == following, f"{run_id}: {entry.first_seq} follows {following - 1}"
        assert entry.last_seq == entry.first_seq + len(entry.events) - 1
        following = entry.last_seq + 1


def texts(client: redis.Redis, run_id: str) -> Iterator[str]:
    for entry in entries(client, run_id):
        for event in entry.events:
            if isinstance(event, TextDelta):
                yield event.text


def worker_id(process: LoggedProcess) -> str:
    """The id under which a ready worker holds its lease."""
    found = re.search(r'"worker ready".*"worker":"([0-9a-f]+)"', process.logged())
    assert found is not None, process.tail()
    return found[1]


def held(client: redis.Redis, worker: str) -> list[str]:
    return [run_id.decode() for run_id in client.hkeys(KEYS.held(worker))]


def crashes(client: redis.Redis, run_id: str) -> int:
    return int(client.hget(KEYS.run(run_id), "crashes") or 0)


def redis_ms(client: redis.Redis) -> int:
    seconds, micros = client.time()
    return seconds * 1000 + micros // 1000
