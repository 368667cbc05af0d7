"""`trunkline purge` as an operator types it."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.processes import Serve, run_trunkline

pytestmark = pytest.mark.redis
HELLO = [{"role": "user", "content": "hello"}]


def purge(*arguments: str, code: int = 0) -> tuple[list[list[str]], str]:
    done = run_trunkline("purge", *arguments)
    assert done.returncode == code, done.stderr
    return [line.split() for line in done.stdout.splitlines()], done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--principal, --older-than or both"),
        (("--kind", "responses"), "--principal, --older-than or both"),
        (("--principal", ""), "--principal: expected a name"),
        (("--older-than", "soon"), "expected 30d or 12h, got 'soon'"),
        (("--principal", "a", "--kind", "all"), "invalid choice: 'all'"),
    ],
)
def test_what_names_nothing_removes_nothing(
    redis_url: str, arguments: tuple[str, ...], words: str
) -> None:
    rows, said = purge(*arguments, "--redis-url", redis_url, code=2)
    assert rows == [] and words in said


def test_without_a_redis_it_says_so(tmp_path: Path) -> None:
    _, said = purge("--principal", "ana", "--data-dir", str(tmp_path), code=2)
    assert "no `trunkline serve` answers" in said


def test_it_works_beside_a_server_that_runs(tmp_path: Path) -> None:
    where = ("--data-dir", str(tmp_path))
    with (
        Serve(*where, "--port", "0") as serve,
        httpx.Client(base_url=serve.url, trust_env=False, timeout=30) as http,
    ):
        made = _made(http)
        rows, _ = purge("--older-than", "1h", *where)
        assert rows[1:] == [["responses", "0", "0"], ["completions", "0", "0"],
                            ["conversations", "0", "0"], ["idempotency", "0", "0"]]  # fmt: skip
        rows, _ = purge("--principal", "anonymous", "--dry-run", *where)
        assert rows == [["kind", "to", "remove", "in", "use,", "left"], ["responses", "2", "0"],
                        ["completions", "1", "0"], ["conversations", "1", "0"],
                        ["idempotency", "1", "0"]]  # fmt: skip
        rows, _ = purge("--principal", "anonymous", "--kind", "completions", *where)
        assert rows == [["kind", "removed", "in", "use,", "left"], ["completions", "1", "0"]]
        assert [http.get(path).status_code for path in made] == [200, 404, 200]
        assert http.get("/v1/chat/completions?model=echo").json()["data"] == []
        rows, _ = purge("--older-than", "0h", *where)
        assert [row[1] for row in rows[1:]] == ["2", "0", "1", "1"]
        assert [http.get(path).status_code for path in made] == [404, 404, 404]


def _made(http: httpx.Client) -> list[str]:
    """One of each, the second response a turn of the conversation."""
    conversation = "6d9b1e70-1c1f-4d0e-9a53-0f4b7a3a2b11"

    def post(path: str, body: dict[str, Any], **headers: str) -> str:
        reply = http.post(path, json={"model": "echo", **body}, headers=headers)
        assert reply.status_code == 200, reply.text
        return str(reply.json()["id"])

    response = post("/v1/responses", {"input": "hello"})
    completion = post("/v1/chat/completions", {"messages": HELLO, "store": True})
    post("/v1/responses", {"input": "hello"}, **{"X-Conversation-ID": conversation})
    post("/v1/chat/completions", {"messages": HELLO}, **{"Idempotency-Key": "once"})
    return [
        f"/v1/responses/{response}",
        f"/v1/chat/completions/{completion}",
        f"/api/conversations/{conversation}",
    ]
