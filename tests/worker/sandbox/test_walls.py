"""What walls can be had, and what may be let through them."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.sandbox.escapes import POSSIBLE, PRELUDE
from tests.worker.sandbox.walled import Bed, World, bed, modes
from trunkline_worker.sandbox.walls import NoSandbox, Sandboxes
from trunkline_worker.sandbox.workspace import Workspaces

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=modes(), ids=str)
def walled(request: pytest.FixtureRequest) -> Iterator[Bed]:
    with bed(request.param) as made:
        yield made


async def test_the_best_walls_that_work_are_found(tmp_path: Path) -> None:
    sandboxes = Sandboxes(Workspaces(tmp_path / "w"))
    assert (await sandboxes.find("auto")).kind == "bwrap"
    assert (await sandboxes.find("bwrap")).kind == "bwrap"
    assert (await sandboxes.find("none")).kind == "none"
    assert os.listdir(tmp_path / "w") == []


async def test_landlock_is_found_where_an_ordinary_user_gets_to_the_workspaces(
    tmp_path: Path,
) -> None:
    for each in (tmp_path, *tmp_path.parents):
        if (mode := each.stat().st_mode) | 0o011 != mode:
            each.chmod(mode | 0o011)
    sandboxes = Sandboxes(Workspaces(tmp_path / "w"))
    assert (await sandboxes.find("landlock")).kind == "landlock"


@pytest.mark.skipif(os.getuid() != 0, reason="only root's commands run as another user")
async def test_where_that_user_does_not_get_it_says_what_helps(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o700)
    with pytest.raises(NoSandbox, match="put TRUNKLINE_WORKSPACES where every user may go"):
        await Sandboxes(Workspaces(tmp_path / "w")).find("landlock")


async def test_what_stands_in_the_way_is_said_and_nothing_is_run_without_walls(
    tmp_path: Path,
) -> None:
    (tmp_path / "w").touch()
    sandboxes = Sandboxes(Workspaces(tmp_path / "w"))
    for wanted in ("auto", "bwrap", "landlock"):
        with pytest.raises(NoSandbox, match=rf"No sandbox .* works here \(.*{tmp_path}"):
            await sandboxes.find(wanted)  # type: ignore[arg-type]  # each is one of them


def served(world: World) -> dict[str, int]:
    facts: dict[str, int] = json.loads(world.facts)
    return facts


async def test_a_network_is_let_through_if_it_is_asked_for(walled: Bed) -> None:
    world = World(walled)
    try:
        for name in ("a TCP port", "a UDP port"):
            code, said = await walled.run(PRELUDE + POSSIBLE[name], world.facts, network=True)
            assert (code, said) == (0, ""), name
        for name in ("a unix socket without a path", "a unix socket by its path"):
            code, said = await walled.run(PRELUDE + POSSIBLE[name], world.facts, network=True)
            assert code == 1, name
    finally:
        world.close()


async def test_single_ports_are_let_through_and_nothing_else_of_a_network(walled: Bed) -> None:
    world = World(walled)
    tcp = served(world)["tcp"]
    connect = PRELUDE + POSSIBLE["a TCP port"]
    listen = PRELUDE + "socket.create_server(('127.0.0.1', 0))"
    try:
        assert await walled.run(connect, world.facts, network=(tcp,)) == (0, "")
        assert (await walled.run(connect, world.facts, network=(tcp + 1,)))[0] == 1
        assert (await walled.run(listen, world.facts, network=(tcp,)))[0] == 1
        for name in ("a TCP port by several ways", "a UDP port", "a unix socket without a path"):
            script = PRELUDE + POSSIBLE[name]
            assert (await walled.run(script, world.facts, network=(tcp,)))[0] == 1, name
        for name in (each for each in POSSIBLE if each.startswith("a TCP port ")):
            code, said = await walled.run(PRELUDE + POSSIBLE[name], world.facts, network=(1,))
            assert (code, "Permission denied" in said) == (1, True), name
    finally:
        world.close()


async def test_directories_are_let_through_for_reading_or_writing(walled: Bed) -> None:
    outside = walled.base / "outside"
    script = (
        f"print(open('{outside}/secret').read()); open('{outside}/new', 'w').write('x'); "
        f"import os; os.chmod('{outside}/new', 0o640)"
    )
    code, said = await walled.run(script, readable=[outside])
    assert code == 1
    assert "the-worker's-own\n" in said
    assert await walled.run(script, writable=[outside]) == (0, "the-worker's-own\n")
    assert (outside / "new").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("root", ["/tmp", "/var/tmp"])
async def test_no_way_to_a_directory_leads_through_links_of_an_earlier_command(root: str) -> None:
    for mode in modes():
        with bed(mode, Path(root)) as walled:
            (walled.base / "aim").mkdir()
            walled.give(walled.base / "aim")
            first = walled.base.parts[len(Path(root).parts)]
            leave = f"""
import os
from contextlib import suppress
for tmp in ("/tmp", os.environ["TMPDIR"]):
    with suppress(OSError): open(tmp + "/mine", "w").close()
    with suppress(OSError): os.rename(f"{{tmp}}/{first}", f"{{tmp}}/away")
    with suppress(OSError): os.symlink("/oldroot{walled.base}/aim", f"{{tmp}}/{first}")
"""
            assert await walled.run(leave) == (0, ""), mode
            look = "import os; print('mine' in os.listdir(os.environ['TMPDIR']))"
            assert await walled.run(look) == (0, "True\n"), mode
            assert os.listdir(walled.base / "aim") == [], mode


async def test_named_variables_of_whoever_starts_it_are_let_through(walled: Bed) -> None:
    command = walled.wrap("/usr/bin/env", env={"GIVEN": "g"}, keep=["KEPT"])
    process = await asyncio.create_subprocess_exec(
        *command.argv,
        env={**command.env, "KEPT": "k", "OTHER": "o"},
        cwd=command.cwd,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    names = {line.partition("=")[0] for line in said.decode().splitlines()}
    assert {"GIVEN", "KEPT", "PATH", "HOME", "TMPDIR"} < names
    assert "OTHER" not in names
    # A secret that is given does not stand among the arguments, which others can read.
    assert "GIVEN=" not in " ".join(command.argv)


async def test_the_tools_of_a_workshop_work(walled: Bed) -> None:
    script = """
import os, subprocess, tempfile
with tempfile.NamedTemporaryFile() as file: file.write(b"x")
os.mkdir("project"); os.chdir("project")
subprocess.run(["git", "init", "-q"], check=True)
open("run.sh", "w").write("#!/bin/sh\\necho ran")
for mode in (0, 0o755): os.chmod("run.sh", mode)
assert subprocess.check_output(["./run.sh"]) == b"ran\\n"
subprocess.run(["git", "add", "."], check=True)
os.mkdir("bin")
subprocess.run(["git", "mv", "run.sh", "bin/run.sh"], check=True)
os.link("bin/run.sh", "linked.sh")
assert subprocess.check_output(["bash", "-c", "cat <(echo piped)"]) == b"piped\\n"
"""
    assert await walled.run(script) == (0, "")
