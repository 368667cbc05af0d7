"""What lives in a lodging owns it, and gets the worker to write nothing elsewhere."""

import os
from pathlib import Path

import pytest

from trunkline_worker.backends.retry import Retry
from trunkline_worker.claude_code.door import Door
from trunkline_worker.claude_code.lodging import lodging
from trunkline_worker.sandbox.walls import Sandbox
from trunkline_worker.sandbox.workspace import Workspace, Workspaces


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    (tmp_path / "victim/projects").mkdir(parents=True)
    return tmp_path / "victim"


def below(path: Path) -> list[str]:
    return [str(each.relative_to(path)) for each in path.rglob("*")]


def owners(path: Path) -> set[int]:
    return {each.lstat().st_uid for each in (path, *path.rglob("*"))}


async def test_a_session_is_laid_where_the_command_line_may_write_it(tmp_path: Path) -> None:
    workspaces = Workspaces(tmp_path / "w")
    async with workspaces.scratch() as workspace, lodging(Sandbox("none"), workspace) as place:
        place.recall("session", "project", [{"a": 1}, {"b": 2}])
        record = place.config / "projects/project/session.jsonl"
        assert record.read_bytes() == b'{"a":1}\n{"b":2}\n'
        uid = os.geteuid() if workspace.uid is None else workspace.uid
        assert owners(place.outside) == {uid}
    assert not place.outside.exists()


async def test_a_tree_of_any_depth_goes_with_it(tmp_path: Path) -> None:
    workspaces = Workspaces(tmp_path / "w")
    async with workspaces.scratch() as workspace, lodging(Sandbox("none"), workspace) as place:
        here = os.open(place.outside, os.O_RDONLY)
        for _ in range(3000):
            os.mkdir("d", dir_fd=here)
            deeper = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
        os.close(here)
    assert not place.outside.exists() and not place.desk.exists()


@pytest.mark.parametrize("swapped", ["", "config", "config/projects", "config/projects/project"])
async def test_a_link_in_the_place_of_a_directory_leads_nowhere(
    tmp_path: Path, victim: Path, swapped: str
) -> None:
    workspaces = Workspaces(tmp_path / "w")
    async with workspaces.scratch() as workspace, lodging(Sandbox("none"), workspace) as place:
        (place.config / "projects/project").mkdir(parents=True)
        spot = place.outside / swapped
        spot.rename(workspace.path / "before")
        spot.symlink_to(victim)
        with pytest.raises(OSError):
            place.recall("session", "project", [{"a": 1}])
    assert below(victim) == ["projects"]
    assert owners(victim) == {os.geteuid()}


async def test_a_door_is_not_made_where_a_link_leads(tmp_path: Path, victim: Path) -> None:
    async def admit(_: object) -> None: ...

    workspaces = Workspaces(tmp_path / "w")
    async with workspaces.scratch() as workspace, lodging(Sandbox("bwrap"), workspace) as place:
        place.outside.rename(workspace.path / "before")
        place.outside.symlink_to(victim)
        door = Door(place, [], Retry(), admit=admit, failed=lambda *_: None)
        with pytest.raises(OSError):
            await door.open()
    assert below(victim) == ["projects"]


async def test_a_directory_that_is_a_link_is_no_home(tmp_path: Path, victim: Path) -> None:
    home = tmp_path / "home"
    (home / "work").mkdir(parents=True)
    (home / "tmp").symlink_to(victim)
    with pytest.raises(OSError):
        async with lodging(Sandbox("none"), Workspace(home / "work")):
            raise AssertionError
    assert below(victim) == ["projects"]
