import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.processes import Process, eventually, is_alive

pytestmark = pytest.mark.redis

OPEN = """
import json, os, signal

from trunkline.testing import ManagedAPIServer

with ManagedAPIServer(**json.loads(os.environ["GIVEN"])) as server:
    print("open", server.base_url, server.session_api_key, server.process.pid, flush=True)
    BODY
print("gone", server.process.returncode, flush=True)
"""
ASK = """
    from openai import OpenAI
    client = OpenAI(base_url=f"{server.base_url}/v1", api_key=server.session_api_key or "none")
    def ask(words, **more):
        messages = [{"role": "user", "content": words}]
        return client.chat.completions.create(model="echo", messages=messages, **more)
"""
SAY = f"{ASK}    print('said', ask('hi').choices[0].message.content)\n"


class Launch:
    """Starts a program that uses the launcher; what is temporary lies in a directory of its own."""

    def __init__(self, tmp_path: Path) -> None:
        self.temporary = tmp_path / "temporary"
        self.temporary.mkdir()

    def __call__(
        self, body: str, environ: dict[str, str] | None = None, **given: object
    ) -> Process:
        program = OPEN.replace("BODY", body.strip())
        settings = {
            "GIVEN": json.dumps({"port": 0, **given}),
            "TMPDIR": str(self.temporary),
            **(environ or {}),
        }
        return Process(sys.executable, "-c", program, environ=settings)

    def left(self) -> list[str]:
        return os.listdir(self.temporary)


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    return Launch(tmp_path)


def none_alive(pids: list[int]) -> Callable[[], bool]:
    return lambda: not any(map(is_alive, pids))


def test_the_server_answers_inside_with_and_leaves_nothing_behind(launch: Launch) -> None:
    with launch(SAY) as program:
        program.printed("open")
        children = program.children()
        assert program.end() == 0
        assert "said hi\n" in program.out
        assert program.out[-1] == "gone 0\n"
        assert none_alive(children)()
    assert launch.left() == []
    assert all(line.startswith("[SERVER] ") for line in program.err)
    for said in ("Trunkline serves http://", "worker started"):
        assert any(said in line for line in program.err)


def test_with_a_session_key_it_asks_for_that_key(launch: Launch) -> None:
    without = (
        "import httpx; print('without', httpx.get(f'{server.base_url}/v1/models').status_code)"
    )
    with launch(f"{SAY}    {without}", use_session_api_key=True) as program:
        assert program.end() == 0
        assert {"said hi\n", "without 401\n"} <= set(program.out)
    key = program.printed("open").split()[2]
    assert len(key) >= 43
    assert not any(key in line for line in (*program.out, *program.err) if "[SERVER]" in line)


def test_the_environment_wins_over_what_was_given(launch: Launch) -> None:
    environ = {"OH_SESSION_API_KEYS_0": "preset", "OH_SECRET_KEY": "of-the-environment"}
    given = {"OH_SECRET_KEY": "given", "OH_SESSION_API_KEYS_0": "given", "LIKE_IT": "given"}
    show = "print('has', open(f'/proc/{server.process.pid}/environ').read().split(chr(0)))"
    with launch(f"{SAY}    {show}", environ, extra_env=given, use_session_api_key=True) as program:
        assert program.end() == 0
        assert program.printed("open").split()[2] == "preset"
        assert "said hi\n" in program.out
        has = program.printed("has")
    for pair in (*environ.items(), ("LIKE_IT", "given")):
        assert repr("=".join(pair)) in has


def test_an_exception_in_the_body_ends_the_server_too(launch: Launch) -> None:
    with launch("raise LookupError('of the body')") as program:
        program.printed("open")
        children = program.children()
        assert program.end() == 1
        assert program.err[-1] == "LookupError: of the body\n"
        assert none_alive(children)()
    assert launch.left() == []


def test_an_open_stream_does_not_hold_up_the_end(launch: Launch) -> None:
    body = f"{ASK}    next(iter(ask('word ' * 10_000, stream=True)))"
    with launch(body) as program:
        program.printed("open")
        children = program.children()
        assert program.end() == 0
        assert program.out[-1] == "gone 0\n"
        assert none_alive(children)()
    assert launch.left() == []


def test_a_server_that_hangs_is_killed_with_all_that_it_started(launch: Launch) -> None:
    with launch("os.kill(server.process.pid, signal.SIGSTOP)") as program:
        program.printed("open")
        children = program.children()
        assert program.end() == 0
        assert program.out[-1] == f"gone {-signal.SIGKILL}\n"
        eventually("all are gone", none_alive(children))
    assert launch.left() == []


def test_ctrl_c_ends_the_server_too(launch: Launch) -> None:
    with launch("signal.pause()") as program:
        program.printed("open")
        children = program.children()
        program.signal(signal.SIGINT)
        assert program.end() != 0
        assert program.err[-1] == "KeyboardInterrupt\n"
        assert none_alive(children)()
    assert launch.left() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_launcher_that_is_killed_takes_the_server_with_it(
    launch: Launch, number: signal.Signals
) -> None:
    with launch("signal.pause()") as program:
        program.printed("open")
        children = program.children()
        assert len(children) >= 4
        program.signal(number)
        eventually("all are gone", none_alive(children))


def test_a_start_that_takes_too_long_leaves_nothing(launch: Launch) -> None:
    with launch("pass", max_start_wait_seconds=0.01) as program:
        assert program.end() == 1
        assert "StartError: the server was not healthy after 0.01 s" in program.err[-1]
        assert none_alive(program.children())()
    assert launch.left() == []


def test_a_server_that_cannot_start_says_why(launch: Launch) -> None:
    with launch("pass", extra_env={"TRUNKLINE_SLOTS": "many"}) as program:
        assert program.end() == 1
    assert "the server ended (exit code 2): trunkline: TRUNKLINE_SLOTS" in program.err[-1]
    assert launch.left() == []


def test_a_port_that_is_taken_is_refused_before_anything_starts(launch: Launch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with launch("pass", port=port) as program:
            assert program.end() == 1
    assert f"StartError: port {port} on 127.0.0.1 is in use" in program.err[-1]
    assert program.out == []
    assert launch.left() == []
