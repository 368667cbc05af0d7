"""A server is a guest: what it leaves as it was, and that it leaves nothing behind."""

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
import redis

from tests.patience import PATIENCE_S, until
from tests.python_api.host import ECHO, SLOW, asked, children, client_of, program, said, serving
from trunkline import AgentPool, OpenAIAPIServer
from trunkline_shared.errors import ServerBroken

pytestmark = pytest.mark.redis


@pytest.fixture
def nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = children()
    yield tmp_path
    assert children() == before
    assert list(tmp_path.iterdir()) == []


def others() -> set[Any]:
    return asyncio.all_tasks() - {asyncio.current_task()}


def manners() -> dict[str, Any]:
    names = ("trunkline", "trunkline_api", "trunkline_worker", "uvicorn", "uvicorn.access", "arq")
    loggers = [logging.getLogger(), *map(logging.getLogger, names)]
    return {
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "loggers": [(log.level, log.propagate, [*log.handlers]) for log in loggers],
        "gc": (gc.get_threshold(), gc.get_freeze_count()),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "handler": asyncio.get_running_loop().get_exception_handler(),
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
        "environ": dict(os.environ),
        "umask": _umask(),
    }


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


async def test_it_changes_nothing_of_the_process(nothing_stays: Path) -> None:
    before = manners()
    async with serving(AgentPool({"agents": {"a": ECHO}})) as client:
        assert await said(client, "x", "a") == "x"
        assert manners() == before
    assert manners() == before
    assert others() == set()


# FastAPI silences it in a way that two threads which build applications undo for each other.
@pytest.mark.filterwarnings("ignore::pydantic.warnings.UnsupportedFieldAttributeWarning")
def test_any_loop_of_any_thread_will_do(nothing_stays: Path) -> None:
    heard: list[str] = []

    async def talk() -> None:
        async with serving(AgentPool({"agents": {"a": ECHO}})) as client:
            heard.append(await said(client, "x", "a"))

    thread = threading.Thread(target=lambda: asyncio.run(talk()))
    thread.start()
    anyio.run(talk, backend_options={"use_uvloop": True})
    thread.join(PATIENCE_S)
    assert heard == ["x", "x"]


@pytest.mark.parametrize("delay_s", [0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1])
async def test_a_start_that_is_cancelled_leaves_nothing(
    delay_s: float, nothing_stays: Path
) -> None:
    server = OpenAIAPIServer(AgentPool({"agents": {"a": ECHO}}), port=0)
    with suppress(TimeoutError):
        async with asyncio.timeout(delay_s), server, server.run_context():
            await asyncio.sleep(PATIENCE_S)
    assert others() == set()
    async with server:
        assert not server.started.is_set()


async def test_a_cancelled_scope_of_anyio_ends_it_in_order(nothing_stays: Path) -> None:
    for delay_s in (0.01, 0.3):
        with anyio.move_on_after(delay_s) as scope:
            async with serving(AgentPool({"agents": {"a": ECHO}})):
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert others() == set()


async def test_a_second_cancellation_ends_the_grace(nothing_stays: Path) -> None:
    server = OpenAIAPIServer(AgentPool({"agents": {"slow": SLOW}}), port=0, grace_s=PATIENCE_S)
    serve = asyncio.create_task(server.serve())
    await until(server.started.is_set)
    lines: list[str] = []
    async with client_of(server) as client:
        body = asked("word", "slow", stream=True)
        async with client.stream("POST", "/v1/chat/completions", json=body) as reply:
            async for line in reply.aiter_lines():
                if not lines:
                    serve.cancel()
                if len(lines) == 5:  # it goes on
                    serve.cancel()
                lines.append(line)
        assert "api_draining" in "".join(lines)
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(PATIENCE_S / 2):
                await serve
    assert others() == set()


async def test_what_breaks_ends_the_block_and_not_the_program(tmp_path: Path) -> None:
    server = OpenAIAPIServer(AgentPool({"agents": {"a": ECHO}}), port=0, data_dir=tmp_path)
    with pytest.raises(ServerBroken, match=r"the embedded Redis ended by itself.*exit code -9"):
        async with server, server.run_context():
            with redis.Redis(unix_socket_path=str(tmp_path / "redis" / "redis.sock")) as client:
                os.kill(client.info("server")["process_id"], signal.SIGKILL)
            await anyio.sleep_forever()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert others() == set()
    async with server, server.run_context(), client_of(server) as http:
        assert await said(http, "x", "a") == "x"


async def test_a_cancellation_from_outside_is_not_swallowed_by_a_break(tmp_path: Path) -> None:
    server = OpenAIAPIServer(AgentPool(), port=0, data_dir=tmp_path)

    async def host() -> None:
        async with server:
            with redis.Redis(unix_socket_path=str(tmp_path / "redis" / "redis.sock")) as client:
                os.kill(client.info("server")["process_id"], signal.SIGKILL)
            try:
                await anyio.sleep_forever()
            finally:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(host())
    assert others() == set()


NEIGHBOURS = """
import asyncio, api, worker, shared
from trunkline import AgentPool, OpenAIAPIServer

async def main():
    server = OpenAIAPIServer(AgentPool({"agents": {"a": {"model": "echo"}}}), port=0)
    async with server, server.run_context():
        print(api.whose, worker.whose, shared.whose, server.started.is_set())

asyncio.run(main())
"""


def test_it_stands_beside_a_programs_own_api_worker_and_shared(tmp_path: Path) -> None:
    for name in ("api", "worker", "shared"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("whose = 'mine'")
    with program(tmp_path, NEIGHBOURS) as host:
        assert host.communicate(timeout=PATIENCE_S) == ("mine mine mine True\n", "")


KILLED = """
import asyncio, redis, sys
from trunkline import AgentPool, OpenAIAPIServer

async def main():
    async with OpenAIAPIServer(AgentPool(), data_dir="data"):
        with redis.Redis(unix_socket_path="data/redis/redis.sock") as client:
            print(client.info("server")["process_id"], flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
async def test_a_killed_program_leaves_no_redis_behind(tmp_path: Path) -> None:
    with program(tmp_path, KILLED) as host:
        assert host.stdout is not None
        pid = int(await asyncio.to_thread(host.stdout.readline))
        host.kill()
        await asyncio.to_thread(host.wait, PATIENCE_S)

        def gone() -> bool:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
            return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()

        await until(gone)
