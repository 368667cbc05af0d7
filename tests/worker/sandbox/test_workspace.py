"""A directory for each conversation and each run, and none for long."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.worker.backends.loops import each_loop
from trunkline_shared.errors import StartError
from trunkline_shared.run import RunRequest, new_run_id
from trunkline_worker.sandbox.workspace import Workspaces

DAY_S = 86_400.0


def run(conversation: str = "", principal: str = "p") -> RunRequest:
    return RunRequest(new_run_id(), "agent", principal=principal, conversation=conversation)


@pytest.fixture
def workspaces(tmp_path: Path) -> Workspaces:
    return Workspaces(tmp_path)


async def test_a_run_has_a_fresh_directory_that_goes_with_it(
    workspaces: Workspaces, tmp_path: Path
) -> None:
    async with workspaces.open(run()) as one, workspaces.open(run()) as other:
        assert one.path != other.path
        assert os.listdir(one.path) == []
        assert stat.S_IMODE(one.home.stat().st_mode) == 0o700
        (one.path / "file").touch()
    assert os.listdir(tmp_path) == []


async def test_a_conversation_finds_its_files_again(workspaces: Workspaces) -> None:
    async with workspaces.open(run("c1")) as first:
        (first.path / "file").write_text("kept")
    async with workspaces.open(run("c1")) as second:
        assert (second.path / "file").read_text() == "kept"
    async with workspaces.open(run("c2")) as other, workspaces.open(run("c1", "q")) as foreign:
        assert os.listdir(other.path) == os.listdir(foreign.path) == []


async def test_a_run_that_begins_again_after_a_crash_finds_what_it_had(tmp_path: Path) -> None:
    request = run()
    crashed = Workspaces(tmp_path).open(request)
    workspace = await crashed.__aenter__()
    (workspace.path / "half").touch()
    async with Workspaces(tmp_path).open(request) as again:
        assert os.listdir(again.path) == ["half"]
    await crashed.__aexit__(None, None, None)


@pytest.mark.parametrize(
    "name", ["../../etc", "/etc", "..", ".", "a/b", "a\0b", "x" * 5000, "c-", "é", "\ud800"]
)
async def test_no_id_leads_out_of_the_root(name: str, tmp_path: Path) -> None:
    async with Workspaces(tmp_path / "w").open(run(name)) as workspace:
        assert workspace.home.parent == tmp_path / "w"
    assert os.listdir(tmp_path) == ["w"]


async def test_what_is_pushed_on_ending_is_done_before_the_directory_goes(
    workspaces: Workspaces,
) -> None:
    seen = []
    async with workspaces.open(run()) as workspace:
        workspace.ending.callback(lambda: seen.append(os.path.exists(workspace.path)))
    assert seen == [True]


async def test_the_last_attempt_of_a_run_to_leave_removes_its_directory(tmp_path: Path) -> None:
    once = run()
    one, other = Workspaces(tmp_path), Workspaces(tmp_path)
    first = one.open(once)
    await first.__aenter__()
    async with other.open(once) as second:
        (second.path / "result").write_text("of the second")
        await first.__aexit__(None, None, None)
        assert (second.path / "result").read_text() == "of the second"
    assert os.listdir(tmp_path) == []


async def test_a_tree_that_resists_is_removed(workspaces: Workspaces, tmp_path: Path) -> None:
    async with workspaces.open(run()) as workspace:
        here = os.open(workspace.path, os.O_RDONLY)
        for _ in range(3000):  # deeper than a path can say
            os.mkdir("d", dir_fd=here)
            deeper = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
        os.close(here)
        (workspace.path / "closed").mkdir()
        (workspace.path / "closed/file").touch()
        (workspace.path / "closed").chmod(0)
        (workspace.path / "out").symlink_to(tmp_path.parent)
    assert os.listdir(tmp_path) == []
    assert tmp_path.parent.exists()


async def test_a_sweep_removes_what_is_old_and_not_in_use(tmp_path: Path) -> None:
    workspaces = Workspaces(tmp_path, kept_s=DAY_S)
    async with workspaces.open(run("old")) as old, workspaces.open(run("new")) as new:
        pass
    os.utime(old.home, (0, 0))
    async with workspaces.open(run("used")) as used:
        os.utime(used.home, (0, 0))
        await workspaces.sweep()
        assert sorted(os.listdir(tmp_path)) == sorted([new.home.name, used.home.name])


async def test_a_root_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"no workspace in .*/file: .*TRUNKLINE_WORKSPACES"):
        async with Workspaces(tmp_path / "file").open(run()):
            pass


@each_loop
async def test_what_is_used_of_the_disk_is_known(workspaces: Workspaces) -> None:
    async with workspaces.open(run()) as workspace:
        (workspace.path / "file").write_bytes(b"x" * 3_000_000)
        assert 3_000_000 <= await workspace.used_bytes() < 3_200_000


@contextmanager
def ordinary_user() -> Iterator[None]:
    """From whom something can be hidden, for what is started meanwhile."""
    ids = os.getresuid()
    if ids[0] == 0:
        os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(*ids)


async def test_what_is_hidden_is_not_taken_for_nothing() -> None:
    with ordinary_user(), tempfile.TemporaryDirectory() as root:
        async with Workspaces(Path(root) / "w").open(run()) as workspace:
            (workspace.path / "closed").mkdir()
            (workspace.path / "closed/file").write_bytes(b"x" * 1_000_000)
            (workspace.path / "closed").chmod(0)
            with pytest.raises(OSError, match="cannot be read"):
                await workspace.used_bytes()
            (workspace.path / "closed").chmod(0o700)
            assert await workspace.used_bytes() > 1_000_000
