import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.processes import Serve, command_line, descendants, eventually, is_alive

pytestmark = pytest.mark.redis
FAKES = "tests.cli.serve_fakes"


class Start:
    """Starts `serve` with fake tiers on a data directory of the test's own."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.started: list[Serve] = []

    def __call__(
        self, *arguments: str, api: str = "good", worker: str = "good", **more: str
    ) -> Serve:
        environ = {"FAKE_API": api, "FAKE_WORKER": worker, **more}
        where = ("--data-dir", str(self.data_dir), "--port", "0")
        serve = Serve(*where, *arguments, module=FAKES, environ=environ)
        self.started.append(serve)
        return serve


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    made = Start(tmp_path / "data")
    yield made
    for serve in made.started:
        with serve:
            pass


def test_the_first_signal_ends_api_then_workers_then_redis(start: Start) -> None:
    serve = start("--workers", "2")
    assert serve.url.startswith("http://127.0.0.1:")
    children = serve.children()
    assert len(children) == 4
    serve.signal(signal.SIGINT)
    assert serve.end() == 0
    assert not any(map(is_alive, children))
    # each of them still could write to Redis when it left
    assert sorted(line for line in serve.err if "left" in line) == [
        "api left\n",
        "worker left\n",
        "worker left\n",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_it_too(start: Start, number: signal.Signals) -> None:
    serve = start()
    assert serve.url
    serve.signal(number)
    assert serve.end() == 0


def test_a_killed_parent_leaves_no_child(start: Start) -> None:
    serve = start("--workers", "2", worker="has-tool")
    assert serve.url
    eventually("both tools run", lambda: len(serve.children()) == 6)
    children = serve.children()
    serve.process.kill()
    eventually("all are gone", lambda: not any(map(is_alive, children)))


def test_a_killed_parent_ends_even_children_that_ignore_the_polite_signal(start: Start) -> None:
    serve = start(api="stubborn", worker="stubborn")
    assert serve.url
    children = serve.children()
    serve.process.kill()
    eventually("all are gone", lambda: not any(map(is_alive, children)))


def test_stubborn_children_are_killed_when_the_time_is_over(start: Start) -> None:
    serve = start("--drain-s", "0.1", worker="stubborn")
    assert serve.url
    children = serve.children()
    serve.signal(signal.SIGINT)
    assert serve.end() == 0
    assert not any(map(is_alive, children))
    assert any("worker-1 did not end in time" in line for line in serve.err)


def test_a_second_signal_hurries(start: Start) -> None:
    serve = start("--drain-s", "3600", worker="stubborn")
    assert serve.url
    serve.signal(signal.SIGINT)
    serve.logged("stopping")
    serve.signal(signal.SIGINT)
    assert serve.end() == 0


def test_what_a_worker_leaves_in_its_group_ends_with_it(start: Start) -> None:
    serve = start(worker="has-tool")
    assert serve.url
    tool = serve.child("a-tool")
    serve.signal(signal.SIGINT)
    assert serve.end() == 0
    assert not is_alive(tool)


def test_a_worker_that_crashes_is_started_again(start: Start) -> None:
    serve = start()
    assert serve.url
    first = serve.child("worker")
    kill(first)
    eventually("another runs", lambda: serve.child("worker") != first)
    serve.logged(f"worker ended process=worker-1 exit_code={-signal.SIGKILL}")
    assert serve.process.poll() is None


def test_a_worker_that_cannot_start_keeps_nobody_from_opening(start: Start) -> None:
    serve = start(worker="crashes")
    assert serve.url
    serve.logged("exit_code=3 restart_in_s=0.4")  # and each time it waits longer


@pytest.mark.parametrize("process", ["api", "redis"])
def test_the_end_of_api_or_redis_ends_serve(start: Start, process: str) -> None:
    serve = start()
    assert serve.url
    children = serve.children()
    kill(serve.child("api") if process == "api" else redis_of(serve))
    assert serve.end() == 1
    assert not any(map(is_alive, children))
    said = "API process ended" if process == "api" else "embedded Redis ended"
    assert sum(said in line for line in serve.err) == 1


def test_an_api_that_refuses_to_start_gives_its_code_and_its_line(start: Start) -> None:
    serve = start(api="refuses")
    assert serve.end() == 2
    assert [line for line in serve.err if "trunkline:" in line] == ["trunkline: said why\n"]


def test_a_signal_while_it_starts_leaves_no_child(start: Start) -> None:
    serve = start()
    eventually("something has started", lambda: serve.children())
    serve.signal(signal.SIGINT)
    assert serve.end() == 0
    assert serve.out == []


def test_a_busy_port_is_said_before_anything_starts(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        serve = start("--port", port)
        assert serve.end() != 0
    assert serve.err == [
        f"trunkline: port {port} on 127.0.0.1 is in use: stop what listens there, or give --port\n"
    ]
    assert not start.data_dir.exists()


def test_its_children_hear_no_signal_of_the_terminal(start: Start) -> None:
    serve = start()
    assert serve.url
    sessions = {session(pid) for pid in (serve.process.pid, *descendants(serve.process.pid))}
    assert len(sessions) == 4


def test_all_tiers_get_the_key_that_is_kept_with_the_data(start: Start) -> None:
    kept = keys_of_tiers(start())
    assert kept == keys_of_tiers(start())
    assert kept == ((start.data_dir / "secret.key").read_text().strip(), "")


def test_a_configured_key_comes_first_and_opens_what_the_kept_one_sealed(start: Start) -> None:
    kept, _ = keys_of_tiers(start())
    assert keys_of_tiers(start(OH_SECRET_KEY="theirs")) == ("theirs", f'["{kept}"]')
    given = {"SESSION_API_KEY": "session", "OH_PREVIOUS_SECRET_KEYS_0": "o,lder"}
    assert keys_of_tiers(start(**given)) == ("session", f'["o,lder","{kept}"]')
    assert keys_of_tiers(start()) == (kept, "")


def test_no_key_is_kept_where_one_is_configured(start: Start) -> None:
    assert keys_of_tiers(start(TRUNKLINE_SECRET_KEY="ours")) == ("ours", "")
    assert not (start.data_dir / "secret.key").exists()


def test_a_key_that_others_can_read_is_one_line(start: Start) -> None:
    start.data_dir.mkdir()
    path = start.data_dir / "secret.key"
    path.write_text("key")
    path.chmod(0o644)
    serve = start()
    assert serve.end() != 0
    assert serve.err[-1] == f"trunkline: others can read {path} (mode 644): chmod 600 it\n"
    assert "Traceback" not in "".join(serve.err)


def keys_of_tiers(serve: Serve) -> tuple[str, str]:
    """The secret key and the previous ones that both tiers of a new `serve` got; it then ends."""
    names = ("TRUNKLINE_SECRET_KEY", "TRUNKLINE_PREVIOUS_SECRET_KEYS")
    assert serve.url
    found = {
        tuple(environ_of(serve.child(tier)).get(name, "") for name in names)
        for tier in ("api", "worker")
    }
    serve.signal(signal.SIGTERM)
    assert serve.end() == 0
    ((key, previous),) = found
    return key, previous


def environ_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def redis_of(serve: Serve) -> int:
    """It gives itself a title that says where it listens."""
    return next(pid for pid in serve.children() if "unixsocket:" in command_line(pid))


def session(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3]
