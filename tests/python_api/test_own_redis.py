"""The Redis of a server inside a program: where it lives, and what is left of it."""

import fcntl
import os
from pathlib import Path

import pytest
import redis

from tests.fakes.redis_server import binary_for_tests
from trunkline.python_api.own_redis import own_redis

pytestmark = pytest.mark.redis
HOUR_AGO = 3600


@pytest.fixture
def search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return str(binary_for_tests().parent)


def names(directory: Path, suffix: str = "") -> set[str]:
    return {each.name for each in directory.rglob(f"*{suffix}")}


def stored(url: str) -> bytes | None:
    with redis.Redis.from_url(url) as client:
        before: bytes | None = client.getset("key", "value")
    return before


async def test_without_a_directory_nothing_is_written_and_nothing_stays(
    tmp_path: Path, search_path: str
) -> None:
    async with own_redis(None, search_path) as url:
        assert stored(url) is None
        assert "redis.sock" in names(tmp_path)
        assert names(tmp_path, ".aof") | names(tmp_path, ".rdb") == set()
    assert names(tmp_path) == set()


async def test_in_a_directory_the_data_is_kept(tmp_path: Path, search_path: str) -> None:
    for before in (None, b"value"):
        async with own_redis(tmp_path / "data", search_path) as url:
            assert stored(url) == before


async def test_what_a_killed_program_left_is_removed_and_what_is_in_use_is_not(
    tmp_path: Path, search_path: str
) -> None:
    made = {}
    for name in ("left", "held", "young"):
        directory = tmp_path / f"trunkline-redis-{name}"
        directory.mkdir()
        made[name] = directory / "lock"
        made[name].write_text("1\n")
        if name != "young":
            then = made[name].stat().st_mtime - HOUR_AGO
            os.utime(made[name], (then, then))
    with made["held"].open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with own_redis(None, search_path):
            pass
    assert names(tmp_path) == {"trunkline-redis-held", "trunkline-redis-young", "lock"}
