"""The whole of `trunkline serve`, as a newcomer starts it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli.processes import PATIENCE_S, Serve, command_line, eventually, is_alive, run_trunkline
from tests.fakes.redis_server import RedisServer

pytestmark = pytest.mark.redis
EXAMPLE = str(Path(__file__).parents[2] / "examples" / "agents.yml")
SLOW = """
agents:
  slow:
    model: echo
    echo: {words_per_second: 5, words: 20}
    pool: elsewhere
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> str:
    return str(tmp_path / "data")


@pytest.fixture
def serve(data_dir: str) -> Iterator[Serve]:
    with Serve(EXAMPLE, "--data-dir", data_dir, "--port", "0") as running:
        yield running


def ask(serve: Serve, model: str, words: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(serve.url).netloc, timeout=PATIENCE_S)
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": words}]}
    connection.request(
        "POST",
        "/v1/chat/completions",
        json.dumps(body),
        {"Content-Type": "application/json", "Connection": "close", **headers},
    )
    return connection.getresponse()


def pasted(serve: Serve, environ: dict[str, str]) -> str:
    """What the printed line gets, in a shell whose `curl` is ours: not every machine has one."""
    assert serve.url
    eventually("the line is there", lambda: len(serve.out) == 4)
    shell = f"curl() {{ printf '%s\\0' \"$@\"; }}\n{serve.out[3]}"
    done = subprocess.run(["/bin/sh", "-c", shell], env=environ, capture_output=True, text=True)
    words = iter(done.stdout.split("\0")[:-1])
    headers, url, body = {}, "", ""
    for word in words:
        match word:
            case "-N":
                continue
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                body = next(words)
            case _:
                url = word
    request = urllib.request.Request(url, body.encode(), headers)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
        return str(reply.read().decode())


def text_of(reply: http.client.HTTPResponse) -> str:
    lines = reply.read().decode().splitlines()
    assert lines[-2] == "data: [DONE]"
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


def test_it_says_where_it_is_and_streams(serve: Serve) -> None:
    assert text_of(ask(serve, "assistant", "one two three")) == "one two three"
    assert serve.out[0] == f"Trunkline serves {serve.url}/v1\n"
    assert serve.out[1] == "models: assistant\n"


def test_the_printed_curl_line_works_when_pasted(serve: Serve) -> None:
    assert pasted(serve, {}).endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("variable", ["TRUNKLINE_API_KEY", "SESSION_API_KEY"])
def test_the_printed_curl_line_takes_the_key_from_the_variable(
    data_dir: str, variable: str
) -> None:
    environ = {variable: "first-key,second-key" if variable.startswith("T") else "first-key"}
    with Serve("--data-dir", data_dir, "--port", "0", environ=environ) as serve:
        assert ask(serve, "echo", "hello").status == 401
        assert pasted(serve, environ).endswith("data: [DONE]\n\n")
    assert "first-key" not in "".join(serve.out + serve.err)


def test_ctrl_c_lets_a_stream_end_and_leaves_no_child(tmp_path: Path, data_dir: str) -> None:
    config = tmp_path / "agents.yml"
    config.write_text(SLOW)
    with Serve(str(config), "--data-dir", data_dir, "--port", "0") as serve:
        reply = ask(serve, "slow", "word")
        assert reply.status == 200
        reply.readline()
        children = serve.children()
        serve.signal(signal.SIGINT)
        assert text_of(reply).split() == ["word"] * 19  # one was read above
        assert serve.end() == 0
    assert not any(map(is_alive, children))
    assert "Traceback" not in "".join(serve.err)


def test_a_second_ctrl_c_ends_the_stream_with_an_error(tmp_path: Path, data_dir: str) -> None:
    config = tmp_path / "agents.yml"
    config.write_text(SLOW.replace("words: 20", "words: 10000"))
    with Serve(str(config), "--data-dir", data_dir, "--port", "0") as serve:
        reply = ask(serve, "slow", "word")
        reply.readline()
        serve.signal(signal.SIGINT)
        serve.logged("stopping")
        serve.signal(signal.SIGINT)
        assert '"error"' in reply.read().decode()
        assert serve.end() == 0


def test_the_end_of_its_redis_ends_the_stream_with_an_error(tmp_path: Path, data_dir: str) -> None:
    config = tmp_path / "agents.yml"
    config.write_text(SLOW.replace("words: 20", "words: 10000"))
    with Serve(str(config), "--data-dir", data_dir, "--port", "0") as serve:
        reply = ask(serve, "slow", "word")
        reply.readline()
        redis = next(pid for pid in serve.children() if "unixsocket:" in command_line(pid))
        os.kill(redis, signal.SIGKILL)
        assert '"error"' in reply.read().decode()
        assert serve.end() == 1


def test_kill_of_the_parent_leaves_no_child(serve: Serve) -> None:
    assert serve.url
    children = serve.children()
    assert len(children) >= 3
    serve.process.kill()
    eventually("all are gone", lambda: not any(map(is_alive, children)))


def test_a_killed_worker_is_replaced_and_serves(serve: Serve) -> None:
    assert text_of(ask(serve, "assistant", "before")) == "before"
    worker = serve.child("worker")
    os.kill(worker, signal.SIGKILL)
    eventually("another is ready", lambda: sum("worker ready" in line for line in serve.err) == 2)
    assert text_of(ask(serve, "assistant", "after")) == "after"


def test_a_second_serve_on_the_same_data_says_so(serve: Serve, data_dir: str) -> None:
    assert serve.url
    second = run_trunkline("serve", "--data-dir", data_dir, "--port", "0")
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr == (
        f"trunkline: the data directory {data_dir} is in use by another serve "
        f"(pid {serve.process.pid}): stop that one, or give another --data-dir "
        "(TRUNKLINE_DATA_DIR)\n"
    )


def test_a_busy_port_is_one_line(data_dir: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        refused(run_trunkline("serve", "--data-dir", data_dir, "--port", port), "is in use")
        with RedisServer() as server:
            where = ("--redis-url", server.url, "--port", port)
            refused(run_trunkline("api", EXAMPLE, *where), "is in use")


@pytest.mark.parametrize("command", ["serve", "api", "worker"])
def test_a_redis_that_is_not_there_is_one_line(command: str) -> None:
    url = "redis://:hunter2@127.0.0.1:1/0"
    where = ("--redis-url", url, *(() if command == "worker" else ("--port", "0")))
    done = run_trunkline(command, EXAMPLE, *where)
    refused(done, "Redis at redis://127.0.0.1:1 is unreachable")
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "api", "worker"])
def test_a_redis_that_evicts_is_one_line(command: str) -> None:
    with RedisServer("--maxmemory-policy", "allkeys-lru") as server:
        where = ("--redis-url", server.url)
        port = () if command == "worker" else ("--port", "0")
        refused(run_trunkline(command, EXAMPLE, *where, *port), "allkeys-lru")


@pytest.mark.parametrize("command", ["serve", "api", "worker"])
def test_a_broken_config_is_one_line_with_its_place(command: str, tmp_path: Path) -> None:
    config = tmp_path / "agents.yml"
    config.write_text("agents:\n  one:\n    modle: echo\n")
    done = run_trunkline(command, str(config))
    refused(done, "modle")
    assert "agents.yml:3" in done.stderr


@pytest.mark.parametrize("command", ["serve", "api", "worker"])
def test_a_config_that_is_not_there_is_one_line(command: str) -> None:
    refused(run_trunkline(command, "/nowhere/agents.yml"), "/nowhere/agents.yml")


def refused(done: subprocess.CompletedProcess[str], why: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("trunkline: ")
    assert done.stderr.count("\n") == 1
    assert why in done.stderr


def test_check_exits_with_1_on_an_error_and_0_without(tmp_path: Path) -> None:
    good = run_trunkline("check", EXAMPLE)
    assert (good.returncode, good.stderr) == (0, "")
    assert "assistant" in good.stdout
    config = tmp_path / "agents.yml"
    config.write_text("agents:\n  one:\n    modle: echo\n")
    assert run_trunkline("check", str(config)).returncode == 1
