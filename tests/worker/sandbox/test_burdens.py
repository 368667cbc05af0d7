"""What runs in a sandbox takes no more than its share, and leaves nothing running behind."""

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.patience import until
from tests.worker.sandbox.walled import PYTHON, Bed, alive, bed, modes
from trunkline_worker.sandbox.process import Process
from trunkline_worker.sandbox.walls import Limits

pytestmark = pytest.mark.timeout(180)

BOMB = """
import os
while True:
    try: os.fork()
    except OSError: os.write(1, b"no more\\n")
"""
HOG = "kept = [bytearray(64 << 20) for _ in range(64)]"
# Left by its parents, in a session of its own, deaf, and with nothing of ours open.
DAEMON = """
import os, signal, sys
if os.fork():
    if sys.argv[2] == "leave": os.read(0, 1); os._exit(0)
    signal.pause()
os.setsid()
if os.fork(): os._exit(0)
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
os.write(1, b"away")
os.closerange(0, 3)
while True: signal.pause()
"""
STARTER = """
import json, os, subprocess, sys
argv, env, cwd, parent = json.loads(sys.argv[1])
argv = [word.replace('"parent": %d,' % parent, '"parent": %d,' % os.getpid()) for word in argv]
subprocess.Popen(argv, env=env, cwd=cwd, start_new_session=True).wait()
"""


class Ear:
    """Hears what a process says."""

    def __init__(self) -> None:
        self.text = ""

    def __call__(self, text: str) -> None:
        self.text += text


@pytest.fixture
def mark() -> str:
    return secrets.token_hex(8)


@pytest.fixture(params=modes(), ids=str)
def walled(request: pytest.FixtureRequest) -> Iterator[Bed]:
    with bed(request.param) as made:
        yield made


async def ended(process: Process) -> float:
    """How long it took to end it, in seconds."""
    began = time.monotonic()
    await process.end()
    return time.monotonic() - began


async def test_a_fork_bomb_is_held_and_goes_off_nowhere_else(walled: Bed, mark: str) -> None:
    ear = Ear()
    process = await walled.start(BOMB, mark, say=ear, limits=Limits(processes=40))
    try:
        await until(lambda: "no more" in ear.text)
        # Where several sandboxes are one user's, the kernel counts them as one.
        assert 10 <= alive(mark) <= 45
        here = await asyncio.create_subprocess_exec("true")
        assert await here.wait() == 0
    finally:
        took = await ended(process)
    assert alive(mark) == 0
    assert took < 3


async def test_a_memory_hog_is_refused(walled: Bed) -> None:
    code, said = await walled.run(HOG, limits=Limits(memory_bytes=256 << 20))
    assert code == 1
    assert "MemoryError" in said


async def test_a_flood_of_output_is_ended_and_what_is_kept_of_it_is_bounded(walled: Bed) -> None:
    ear = Ear()
    process = await walled.start("while True: print('x' * 9999)", say=ear)
    await process.wait()
    await process.end()
    assert process.stopped == "it said more than 16 MiB"
    assert len(process.output.take()) < 1 << 17
    assert len(ear.text) == 1 << 15


async def test_a_file_that_grows_too_big_is_cut_off(walled: Bed) -> None:
    code, said = await walled.run(
        "f = open('big', 'wb')\nfor _ in range(20): f.write(bytes(1 << 20))",
        limits=Limits(file_bytes=10 << 20),
    )
    assert code != 0
    assert "File too large" in said
    assert (walled.workspace.path / "big").stat().st_size == 10 << 20


async def test_a_daemon_goes_when_its_command_is_ended(walled: Bed, mark: str) -> None:
    ear = Ear()
    process = await walled.start(DAEMON, mark, "stay", say=ear)
    await until(lambda: "away" in ear.text)
    assert alive(mark) == 2
    took = await ended(process)
    await until(lambda: not alive(mark))
    assert took < 1


async def test_a_daemon_goes_with_the_process_group_of_whoever_was_started(
    walled: Bed, mark: str
) -> None:
    command = walled.wrap(PYTHON, "-c", DAEMON, mark, "stay")
    process = await asyncio.create_subprocess_exec(
        *command.argv,
        env=command.env,
        cwd=command.cwd,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert await process.stdout.read(4) == b"away"
    os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    await until(lambda: not alive(mark))


async def test_a_daemon_goes_when_its_command_has_ended(walled: Bed, mark: str) -> None:
    ear = Ear()
    process = await walled.start(DAEMON, mark, "leave", say=ear)
    await process.wait()
    assert process.exit_code == 0
    await until(lambda: not alive(mark))
    await process.end()


async def test_a_daemon_goes_with_a_worker_that_is_killed(walled: Bed, mark: str) -> None:
    command = walled.wrap(PYTHON, "-c", DAEMON, mark, "stay")
    facts = json.dumps([command.argv, command.env, command.cwd, os.getpid()])
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STARTER, facts), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await until(lambda: alive(mark) == 2)
    finally:
        worker.kill()
        await worker.wait()
    await until(lambda: not alive(mark))


async def test_a_command_can_be_ended_while_its_walls_are_built(walled: Bed, mark: str) -> None:
    for turn in range(16):
        process = await walled.start("import signal; signal.pause()", mark)
        with suppress(TimeoutError):
            async with asyncio.timeout(turn * 0.006):
                await process.wait()
        async with asyncio.timeout(20):
            await process.end()
    await until(lambda: not alive(mark))


async def test_whoever_watches_over_a_command_is_out_of_its_reach(walled: Bed) -> None:
    script = """
import ctypes, os, resource, signal
from contextlib import suppress
libc, parent = ctypes.CDLL(None), os.getppid()
for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
    with suppress(OSError): os.kill(parent, number)
    with suppress(OSError): os.kill(0 if number == signal.SIGTERM else parent, signal.SIGCONT)
libc.ptrace(0x4206, parent, None, None)
with suppress(OSError): resource.prlimit(parent, resource.RLIMIT_CPU, (0, 0))
print("still here")
raise SystemExit(5)
"""
    assert await walled.run(script) == (5, "still here\n")


async def test_the_exit_code_of_a_command_is_its_own(walled: Bed) -> None:
    assert (await walled.run("raise SystemExit(7)"))[0] == 7
    assert (await walled.run("import os; os.kill(os.getpid(), 9)"))[0] == 128 + 9
