"""`trunkline keys` as a user types it."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli.processes import Serve, run_trunkline
from tests.fakes.redis_server import RedisServer
from trunkline.data_dir import LONGEST_SOCKET_PATH

pytestmark = pytest.mark.redis


class Keys:
    """Runs actions on one Redis; each answers its stdout, or fails with stderr."""

    def __init__(self, *where: str) -> None:
        self.where = where
        self.said = ""

    def __call__(self, action: str, *arguments: str) -> str:
        done = run_trunkline("keys", action, *arguments, *self.where)
        self.said = done.stderr
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def refused(self, action: str, *arguments: str) -> str:
        done = run_trunkline("keys", action, *arguments, *self.where)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("trunkline: ")
        assert done.stderr.count("\n") == 1
        return done.stderr


@pytest.fixture
def keys(redis_url: str) -> Keys:
    return Keys("--redis-url", redis_url)


def test_a_new_key_is_all_of_stdout_and_how_to_use_it_is_told_beside(keys: Keys) -> None:
    assert re.fullmatch(r"tl_[A-Za-z0-9_-]{43}", keys("create", "ada"))
    assert "Authorization: Bearer" in keys.said
    assert "the first key" in keys.said
    keys("create", "bob")
    assert "the first key" not in keys.said


def test_the_list_tells_all_but_the_keys(keys: Keys) -> None:
    made = [
        keys("create", "ada"),
        keys("create", "bob", "--models", "gpt-*", "team/*", "--max-concurrent", "3", "--admin"),
        keys("create", "eve", "--max-concurrent", "0", "--expires", "2099-12-31"),
    ]
    keys("revoke", "ada")
    shown = keys("list")
    assert not any(key in shown or key[3:] in shown for key in made)
    heading, *rows = [re.split("  +", line) for line in shown.splitlines()]
    assert heading == ["name", "id", "models", "at once", "admin", "created", "expires", "state"]
    today = time.strftime("%Y-%m-%d", time.gmtime())
    seen = sorted([name, *more, state] for name, _, *more, created, _, state in rows)
    assert seen == [
        ["ada", "*", "-", "-", "revoked"],
        ["bob", "gpt-* team/*", "3", "yes", "active"],
        ["eve", "*", "0", "-", "active"],
    ]
    assert all(row[5].startswith(today[:7]) for row in rows)
    assert sorted(row[6] for row in rows) == ["-", "-", "2099-12-31 00:00Z"]


def test_a_key_is_revoked_by_the_id_that_the_list_shows(keys: Keys) -> None:
    keys("create", "ada")
    listed = keys("list").splitlines()[1].split()
    assert keys("revoke", listed[1]) == f"revoked ada ({listed[1]})"
    assert "no key to revoke" in keys.refused("revoke", listed[1])


def test_deployments_with_other_prefixes_have_other_keys(redis_url: str) -> None:
    keys = Keys("--redis-url", redis_url, "--prefix", "other")
    keys("create", "ada")
    assert len(Keys("--redis-url", redis_url)("list").splitlines()) == 1
    assert len(keys("list").splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["a b"], "no name of a key"),
        (["session"], "of the configuration"),
        (["ada", "--expires", "soon"], "--expires: expected 30d, 12h or 2026-12-31"),
        (["ada", "--expires", "0d"], "--expires: 0d is over"),
        (["ada", "--expires", "2020-01-01"], "--expires: 2020-01-01 is over"),
        (["ada", "--max-concurrent", "-1"], "--max-concurrent"),
        (["ada", "--max-concurrent", "many"], "--max-concurrent"),
        (["ada", "--models", ""], "--models"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(keys: Keys, arguments: list[str], reason: str) -> None:
    assert reason in keys.refused("create", *arguments)
    assert len(keys("list").splitlines()) == 1


def test_a_name_that_is_taken_is_one_line(keys: Keys) -> None:
    keys("create", "ada")
    assert "there is a key named 'ada'" in keys.refused("create", "ada")


def test_a_redis_that_is_not_there_or_not_ours_is_one_line(keys: Keys) -> None:
    nowhere = Keys("--redis-url", "redis://:secret@127.0.0.1:1/0")
    assert "127.0.0.1:1 is unreachable" in nowhere.refused("list")
    assert "secret" not in nowhere.refused("list")
    with RedisServer("--rename-command", "HGETALL", "") as server:
        assert "unknown command" in Keys("--redis-url", server.url).refused("list")


@pytest.fixture(params=["short", "l" * LONGEST_SOCKET_PATH], ids=["short", "long"])
def data_dir(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / str(request.param)


def test_a_running_serve_is_found_by_its_data_directory(data_dir: Path) -> None:
    keys = Keys("--data-dir", str(data_dir))
    assert f"no `trunkline serve` answers on {data_dir}" in keys.refused("list")
    with Serve("--data-dir", str(data_dir), "--port", "0") as serve:
        models = f"{serve.url}/v1/models"
        with httpx.Client(trust_env=False) as http:
            assert http.get(models).status_code == 200
            key = keys("create", "ada")
            assert http.get(models).status_code == 401
            assert http.get(models, headers={"x-session-api-key": key}).status_code == 200
            keys("revoke", "ada")
            assert http.get(models, headers={"x-session-api-key": key}).status_code == 401
    assert "no `trunkline serve`" in keys.refused("list")
    with Serve("--data-dir", str(data_dir), "--port", "0") as serve:
        assert httpx.get(f"{serve.url}/v1/models", trust_env=False).status_code == 401
        assert any("one of your keys" in line for line in serve.out)
