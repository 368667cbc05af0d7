"""The workspace's files as a model reaches them, and no others."""

import asyncio
import ctypes
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.worker.toolsets.bench import Bench, bench
from trunkline_shared.config.toolsets import FileAccess
from trunkline_worker.toolsets.base import ToolError
from trunkline_worker.toolsets.file_access import Files

SECRET = "not for the model"


@pytest.fixture
async def files() -> AsyncIterator[Bench]:
    async with bench(Files(FileAccess())) as made:
        yield made


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/secret").write_text(SECRET)
    return tmp_path


async def test_a_file_is_written_read_edited_and_listed(files: Bench) -> None:
    await files.call("write_file", path="src/a.py", content="one\ntwo\n")
    assert await files.call("read_file", path="src/a.py") == "one\ntwo\n"
    await files.call("edit_file", path="src/a.py", old="two", new="three")
    path = str(files.workspace.path / "src/a.py")
    assert await files.call("read_file", path=path, start_line=2) == "three\n"
    assert await files.call("list_directory") == "src/"
    assert await files.call("list_directory", path="src") == "a.py 10"


async def test_what_is_written_belongs_to_who_runs_the_commands(files: Bench) -> None:
    await files.call("write_file", path="src/a.py", content="")
    uid = os.geteuid() if files.workspace.uid is None else files.workspace.uid
    for name in ("src", "src/a.py"):
        assert (files.workspace.path / name).stat().st_uid == uid


async def test_an_edit_that_is_not_clear_changes_nothing(files: Bench) -> None:
    await files.call("write_file", path="a", content="x x")
    assert "2 times" in await files.refused("edit_file", path="a", old="x", new="y")
    assert "exactly" in await files.refused("edit_file", path="a", old="z", new="y")
    assert "exactly" in await files.refused("edit_file", path="a", old="", new="y")
    assert await files.call("edit_file", path="a", old="x", new="y", all=True)
    assert await files.call("read_file", path="a") == "y y"


async def test_a_replaced_file_keeps_its_mode(files: Bench) -> None:
    path = files.workspace.path / "run.sh"
    path.write_text("old")
    path.chmod(0o750)
    await files.call("write_file", path="run.sh", content="new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o750)


async def test_a_long_file_comes_in_pieces(files: Bench) -> None:
    content = "".join(f"line {n}\n" for n in range(1, 20_001))
    await files.call("write_file", path="long", content=content)
    assert await files.call("read_file", path="long", start_line=3, lines=2) == (
        f"line 3\nline 4\n\n[{len(content) - 28} bytes follow, after line 4]"
    )
    assert len(await files.call("read_file", path="long")) < 66_000
    assert "no line" in await files.refused("read_file", path="long", start_line=30_000)


async def test_a_search_finds_names_and_lines(files: Bench) -> None:
    for name in ("a.py", "src/b.py", "src/deep/c.txt", ".git/d.py"):
        await files.call("write_file", path=name, content=f"one\nimport {name}\n")
    assert await files.call("search", glob="*.py") == "a.py\nsrc/b.py"
    assert await files.call("search", glob="src/**/*.txt") == "src/deep/c.txt"
    found = await files.call("search", pattern=r"^import s", path="src")
    assert found == "src/b.py:2:import src/b.py\nsrc/deep/c.txt:2:import src/deep/c.txt"
    assert await files.call("search", pattern="one", path="a.py") == "a.py:1:one"
    assert await files.call("search", pattern="nowhere") == "Nothing is found."
    assert "pattern: " in await files.refused("search", pattern="(")


async def test_a_search_that_takes_for_ever_holds_nobody_up(files: Bench) -> None:
    await files.call("write_file", path="a", content="a" * 40 + "!")
    task = asyncio.create_task(files.call("search", pattern="(a+)+$"))
    # The loop goes on meanwhile, and the search ends with its call.
    for _ in range(20):
        await asyncio.wait({task}, timeout=0.01)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def _ways_out(files: Bench, outside: Path) -> dict[str, str]:
    work = files.workspace.path
    links = {"absolute": outside / "secret", "folder": outside / "folder"}
    links |= {"dots": Path("../" * 30 + str(outside / "secret")[1:]), "self": Path("/proc/self")}
    for name, target in links.items():
        (work / name).symlink_to(target)
    (work / "loop").symlink_to("loop")
    (work / "chain").symlink_to("absolute")
    (work / "home").symlink_to("..")
    os.link(outside / "secret", work / "hard")
    os.mkfifo(work / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"/proc/self/fd/{os.open(work, os.O_RDONLY | os.O_DIRECTORY)}/socket")
    (work / "plain").write_text("x")
    if os.geteuid() == 0:
        os.mknod(work / "device", 0o20666, os.makedev(1, 5))
    return {
        "an absolute path": str(outside / "secret"),
        "dots": os.path.relpath(outside / "secret", work),
        "dots after a directory": "new/../../" + os.path.relpath(outside / "secret", work),
        "dots in an absolute path": f"{work}/../tasks.json",
        "a neighbour whose name begins alike": f"{work}2/secret",
        "a link": "absolute",
        "a link to a link": "chain",
        "a link with dots": "dots",
        "a link to a directory": "folder/secret",
        "a link to the directory above": "home/tasks.json",
        "a link that leads to itself": "loop",
        "/proc/self/root": f"/proc/self/root{outside}/secret",
        "a link to /proc": f"self/root{outside}/secret",
        "a hard link": "hard",
        "a pipe": "pipe",
        "a socket": "socket",
        "a device": "device" if os.geteuid() == 0 else "/dev/zero",
        "a file as a directory": "plain/secret",
        "a zero": "plain\0secret",
        "a name that is too long": "x" * 5000,
    }


async def test_nothing_outside_is_read_or_written(files: Bench, outside: Path) -> None:
    (files.workspace.home / "tasks.json").write_text(SECRET)
    for way, path in _ways_out(files, outside).items():
        async with asyncio.timeout(10):  # who waits for a pipe waits for ever
            for name, more in (
                ("read_file", {}),
                ("list_directory", {}),
                ("search", {"pattern": "."}),
                ("write_file", {"content": "gone"}),
                ("edit_file", {"old": SECRET, "new": "gone"}),
            ):
                assert SECRET not in await files.refused(name, path=path, **more), way
    assert (outside / "secret").read_text() == SECRET
    assert (files.workspace.home / "tasks.json").read_text() == SECRET
    assert sorted(os.listdir(outside)) == ["folder", "secret"]
    # A search of everything follows none of them either.
    assert await files.call("search", pattern=SECRET) == "Nothing is found."


async def test_links_inside_the_workspace_are_followed(files: Bench) -> None:
    await files.call("write_file", path="real/a", content="x")
    work = files.workspace.path
    (work / "link").symlink_to("real")
    (work / "far").symlink_to(work / "real/a")
    (work / "real/back").symlink_to("../real/a")
    for path in ("link/a", "far", "real/back", "real/../link/./a", "link/"):
        if path != "link/":
            assert await files.call("read_file", path=path) == "x"
    await files.call("write_file", path="far", content="y")
    assert (work / "real/a").read_text() == "y"
    assert (work / "far").is_symlink()
    assert await files.call("list_directory", path="link") == "a 1\nback (link)"


@contextmanager
def swapping(work: Path, outside: Path) -> Iterator[None]:
    """`spot` is by turns a directory of the workspace and a link out of it, as fast as it goes."""
    over, libc = threading.Event(), ctypes.CDLL(None)
    (work / "spot").mkdir()
    (work / "spot/secret").write_text("fine")
    (work / "link").symlink_to(outside / "folder")

    def swap() -> None:
        while not over.is_set():
            assert libc.renameat2(-100, bytes(work / "spot"), -100, bytes(work / "link"), 2) == 0

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def test_a_race_with_whoever_swaps_names_is_never_lost(files: Bench, outside: Path) -> None:
    got = 0
    with swapping(files.workspace.path, outside):
        for turn in range(100):
            with suppress(ToolError):
                assert await files.call("read_file", path="spot/secret") in ("fine", "mine")
                got += 1
            with suppress(ToolError):
                await files.call("write_file", path="spot/secret", content="mine")
            with suppress(ToolError):
                await files.call("write_file", path=f"spot/new{turn % 3}", content="mine")
    assert 0 < got < 100  # both were met
    assert (outside / "folder/secret").read_text() == SECRET
    assert os.listdir(outside / "folder") == ["secret"]


async def test_a_full_workspace_takes_no_more() -> None:
    async with bench(Files(FileAccess()), max_bytes=1 << 20) as files:
        (files.workspace.path / "big").write_bytes(b"x" * (2 << 20))
        assert "full" in await files.refused("write_file", path="a", content="x")


async def test_reading_alone_can_be_allowed() -> None:
    async with bench(Files(FileAccess(read_only=True))) as files:
        names = [tool.name for tool in await files.toolset.tools()]
        assert names == ["list_directory", "read_file", "search"]
        assert "no tool" in await files.refused("write_file", path="a", content="x")


async def test_arguments_of_the_wrong_kind_are_told_to_the_model(files: Bench) -> None:
    assert await files.refused("read_file", path=7) == "path must be a text."
    assert await files.refused("read_file", path="a", lines="2") == "lines must be a number."
    assert await files.refused("write_file", path="a") == "content must be a text."
    assert "true or false" in await files.refused("edit_file", path="a", old="", new="", all=1)
