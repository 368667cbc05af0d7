import os
import stat
from pathlib import Path

import pytest
import redis

from tests.fakes.redis_server import START_TIMEOUT_S, binary_for_tests
from trunkline.data_dir import LONGEST_SOCKET_PATH
from trunkline.embedded_redis import EmbeddedRedis
from trunkline.redis_binary import find_redis, wheel_binaries
from trunkline_shared.errors import StartError

pytestmark = pytest.mark.redis


@pytest.fixture
def search_path() -> str:
    return str(binary_for_tests().parent)


def client(server: EmbeddedRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url, socket_timeout=START_TIMEOUT_S)


def option(server: EmbeddedRedis, name: str) -> str:
    with client(server) as asked:
        return str(asked.config_get(name)[name])


async def test_data_is_kept_across_restarts(tmp_path: Path, search_path: str) -> None:
    first = await EmbeddedRedis.start(tmp_path, search_path)
    with client(first) as asked:
        asked.set("key", "value")
    assert option(first, "maxmemory-policy") == "noeviction"
    await first.stop()
    assert first.child.code == 0
    second = await EmbeddedRedis.start(tmp_path, search_path)
    with client(second) as asked:
        assert asked.get("key") == b"value"
    await second.stop()


async def test_nobody_else_can_reach_socket_or_data(tmp_path: Path, search_path: str) -> None:
    server = await EmbeddedRedis.start(tmp_path, search_path)
    assert option(server, "port") == "0"
    await server.stop()
    directory = tmp_path / "redis"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) & 0o077 for each in directory.rglob("*")} == {0}


async def test_a_long_path_gets_a_short_private_socket(tmp_path: Path, search_path: str) -> None:
    data_dir = tmp_path / ("d" * LONGEST_SOCKET_PATH)
    server = await EmbeddedRedis.start(data_dir, search_path)
    socket = Path(server.url.removeprefix("unix://"))
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    await server.stop()
    assert not socket.parent.exists()


async def test_a_path_with_odd_characters_works(tmp_path: Path, search_path: str) -> None:
    server = await EmbeddedRedis.start(tmp_path / "a b?c#d%20", search_path)
    with client(server) as asked:
        assert asked.ping()
    await server.stop()


async def test_a_second_one_on_the_same_data_is_refused(tmp_path: Path, search_path: str) -> None:
    server = await EmbeddedRedis.start(tmp_path, search_path)
    with pytest.raises(StartError, match=rf"in use by another serve \(pid {os.getpid()}\)"):
        await EmbeddedRedis.start(tmp_path, search_path)
    await server.stop()


async def test_data_of_a_newer_redis_is_one_line_that_says_so(
    tmp_path: Path, search_path: str
) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "appendonly.aof").write_bytes(b"REDIS9999\xfa\x09redis-ver\x069.9.99")
    with pytest.raises(StartError, match="written by a newer Redis than") as refused:
        await EmbeddedRedis.start(tmp_path, search_path)
    assert "\n" not in str(refused.value)


async def test_a_failed_start_shows_what_redis_said_last(tmp_path: Path, search_path: str) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "appendonly.aof").write_text("nonsense\n" * 100)
    with pytest.raises(StartError, match=r"did not start: .*Bad file format") as refused:
        await EmbeddedRedis.start(tmp_path, search_path)
    assert "\n" not in str(refused.value)
    assert str(tmp_path / "redis" / "redis.log") in str(refused.value)


async def test_an_older_server_does_not_start_empty_beside_newer_data(tmp_path: Path) -> None:
    if not wheel_binaries():
        return  # the wheel is how anybody comes by an older server
    (tmp_path / "redis" / "appendonlydir").mkdir(parents=True)
    with pytest.raises(StartError, match=r"written by Redis 7 or newer; no Redis 7\.0 or newer"):
        await EmbeddedRedis.start(tmp_path, search_path="")


async def test_a_directory_that_cannot_be_had_is_one_line(tmp_path: Path, search_path: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"cannot keep data in .*give another --data-dir"):
        await EmbeddedRedis.start(tmp_path / "file", search_path)


async def test_the_lock_of_a_dead_serve_is_taken_over(tmp_path: Path, search_path: str) -> None:
    tmp_path.joinpath("lock").write_text("999999999\n")
    server = await EmbeddedRedis.start(tmp_path, search_path)
    await server.stop()
    assert tmp_path.joinpath("lock").read_text() == f"{os.getpid()}\n"


def test_without_any_server_it_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("trunkline.redis_binary.wheel_binaries", lambda: ())
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho Redis server v=5.0.7 sha=0\n")
    old.chmod(0o755)
    with pytest.raises(StartError, match=r"no Redis 6\.2 or newer .*is 5\.0.*apt install"):
        find_redis(str(tmp_path))
    with pytest.raises(StartError, match="on this machine: install one"):
        find_redis("/nowhere")


def test_valkey_is_taken_before_redis_and_broken_programs_are_passed_over(tmp_path: Path) -> None:
    for name, answer in {"valkey-server": "v=8.1.0", "redis-server": "v=7.2.0"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho Server {answer} sha=0\n")
        (tmp_path / name).chmod(0o755)
    assert find_redis(str(tmp_path)).path.name == "valkey-server"
    (tmp_path / "valkey-server").write_text("not a program")
    assert find_redis(str(tmp_path)).version == (7, 2)
