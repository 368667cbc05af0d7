"""How much of memory, time and descriptors a model's work on files can take."""

import os
import time
from collections.abc import AsyncIterator

import pytest

from tests.worker.toolsets.bench import Bench, bench
from trunkline_shared.config.toolsets import FileAccess
from trunkline_worker.toolsets.file_access import Files


@pytest.fixture
async def files() -> AsyncIterator[Bench]:
    async with bench(Files(FileAccess())) as made:
        yield made


async def test_an_edit_makes_no_file_too_long(files: Bench) -> None:
    await files.call("write_file", path="a", content="x" * 2048)
    edit = {"path": "a", "old": "x", "new": "y" * 2049, "all": True}
    assert "longer than 4 MiB" in await files.refused("edit_file", **edit)
    assert await files.call("read_file", path="a") == "x" * 2048
    await files.call("edit_file", **edit | {"new": "y" * 2048})
    assert (files.workspace.path / "a").stat().st_size == 4 << 20


async def test_a_line_far_down_is_found_at_once(files: Bench) -> None:
    (files.workspace.path / "n").write_bytes(b"\n" * (8 << 20) + b"last\nend")
    began = time.process_time()
    assert await files.call("read_file", path="n", start_line=(8 << 20) + 1, lines=1) == (
        f"last\n\n[3 bytes follow, after line {(8 << 20) + 1}]"
    )
    assert await files.call("read_file", path="n", start_line=(8 << 20) + 2) == "end"
    assert "no line" in await files.refused("read_file", path="n", start_line=(8 << 20) + 3)
    assert time.process_time() - began < 1


async def test_a_path_of_many_parts_is_walked_at_once(files: Bench) -> None:
    await files.call("write_file", path="d/f", content="x")
    assert await files.call("read_file", path="d/../" * 500 + "./" * 700 + "d/f") == "x"
    began = time.process_time()
    for path in ("d/../" * 5000 + "./" * 5000 + "d", "./" * 5000):
        assert "too long" in await files.refused("list_directory", path=path)
    assert time.process_time() - began < 0.5
    assert "no name" in await files.refused("read_file", path="\ud800")


async def test_a_walk_holds_few_descriptors(files: Bench) -> None:
    assert await files.call("write_file", path="d/" * 64 + "f", content="x")
    assert await files.call("read_file", path="d/" * 64 + "f") == "x"
    assert "deeper than 64" in await files.refused("write_file", path="d/" * 65 + "f", content="x")
    assert await files.call("list_directory", path="d/" * 64) == "f 1"
    assert (await files.call("search", glob="f")).endswith("d/f")


async def test_a_search_takes_bounded_memory_and_says_little(files: Bench) -> None:
    (files.workspace.path / "x").write_bytes(b"x" * (8 << 20))
    said = await files.refused("search", pattern="(?:(x)|y)*z")
    assert said == "The search takes too much memory; narrow it."
    os.remove(files.workspace.path / "x")
    for number in range(200):
        (files.workspace.path / f"{number:0250}").write_text("y" * 300)
    found = (await files.call("search", pattern="y")).splitlines()
    assert found[-1] == f"[only the first {len(found) - 1} are shown]"
    assert 100 < len(found) < 150


async def test_what_is_huge_or_no_text_is_not_taken_into_memory(files: Bench) -> None:
    (files.workspace.path / "huge").write_bytes(b"begin")
    os.truncate(files.workspace.path / "huge", 1 << 40)
    (files.workspace.path / "line").write_bytes(b"x" * (9 << 20))
    assert "not a text" in await files.refused("read_file", path="huge")
    assert "too long" in await files.refused("edit_file", path="huge", old="begin", new="end")
    assert len(await files.call("read_file", path="line")) < 66_000
    said = await files.refused("write_file", path="new", content="x" * (5 << 20))
    assert said == "That is more than 4 MiB."


async def test_of_a_huge_directory_the_names_are_not_all_read(files: Bench) -> None:
    (files.workspace.path / "big").mkdir()
    for number in range(10_300):
        (files.workspace.path / f"big/{number:05}").touch()
    *shown, more = (await files.call("list_directory", path="big")).splitlines()
    assert len(shown) == 500 and more == "[at least 9500 more]"
