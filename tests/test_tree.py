"""Rules of the tree itself, which no other tool holds."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from trunkline_shared.scripts import SHARED

ROOT = Path(__file__).parents[1]
TIERS = ("api/trunkline_api", "worker/trunkline_worker", "shared/trunkline_shared", "trunkline")
CODE = (".py", ".lua", ".sh", ".mjs", ".js", ".ts")
MAX_LINES = 300
SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "manager", "service", "misc"}
HARMFUL = {"litellm==1.82.7", "litellm==1.82.8", "litellm==1.107.0"}


def tracked() -> list[Path]:
    """Every file of the project; of a source archive, which has no git, those that are there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
    )
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
        return [path for path in paths if path.is_file()]
    folders = (*TIERS, "tests", "deploy", "requirements")
    return [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]


def sources() -> Iterator[Path]:
    return (path for path in tracked() if path.suffix in CODE)


def tier_files() -> Iterator[tuple[Path, str]]:
    for tier in TIERS:
        for path in sorted((ROOT / tier).rglob("*.py")):
            yield path, path.read_text(encoding="utf-8")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_source_file_is_longer_than_a_reader_can_hold() -> None:
    lengths = {name(path): len(path.read_bytes().splitlines()) for path in sources()}
    assert lengths
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_every_file_is_named_for_the_thing_in_it() -> None:
    theirs = ROOT / "scripts/utils.py"  # the name under which OpenHands' examples import it
    named = (path for path in sources() if path != theirs)
    nameless = [name(p) for p in named if SAY_NOTHING & {p.stem, p.parent.name}]
    assert nameless == []


@pytest.mark.parametrize(
    ("what", "pattern", "homes"),
    [
        # `testing` hands the whole of it to a child, and so reads it for settings as that will.
        # `launch` is a program of its own, which passes on the few variables that a command gets.
        (
            "environment",
            r"\bos\.(environ|getenv)\b",
            r"trunkline/(__main__|testing)|settings|python_api|sandbox/launch",
        ),
        ("Redis keys", r"[\"'{](arq:|\{?prefix\}?:)", r"shared/trunkline_shared/keys"),
        ("scripts", r"\.(eval|evalsha|register_script)\(", r"shared/trunkline_shared/"),
        ("unfinished work", r"\b(TODO|FIXME|XXX|HACK)\b", r"(?!)"),
        ("pickle", r"\b(import pickle|from pickle)\b", r"(?!)"),
    ],
)
def test_each_thing_has_one_home(what: str, pattern: str, homes: str) -> None:
    strays = [
        f"{name(path)}:{number}"
        for path, text in tier_files()
        if not re.search(homes, name(path))
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert strays == [], f"{what} outside of {homes}"


def test_every_state_change_is_one_of_eight_scripts() -> None:
    scripts = {path.stem for path in (ROOT / "shared/trunkline_shared/scripts").glob("*.lua")}
    owed = {"submit", "claim", "append", "finish", "cancel", "renew", "sweep", "hand_back"}
    assert scripts - set(SHARED) == owed


def test_every_folder_of_a_tier_is_typed_and_a_package() -> None:
    for tier in TIERS:
        assert (ROOT / tier / "py.typed").is_file()
        folders = {path.parent for path, _ in tier_files() if path.is_relative_to(ROOT / tier)}
        assert [name(f) for f in sorted(folders) if not (f / "__init__.py").is_file()] == []


def test_the_locks_hold_hashes_and_nothing_of_where_they_were_made() -> None:
    locks = sorted((ROOT / "requirements").glob("*.lock"))
    assert {lock.stem for lock in locks} == {
        "api",
        "worker",
        "claude",
        "providers",
        "dev",
        "build",
        "lab",
    }
    for lock in [*locks, *(ROOT / "tests/bench").rglob("*.lock")]:
        text = lock.read_text(encoding="utf-8")
        assert not re.search(r"://|^-|@ |\B/\w", text, re.MULTILINE), lock.name
        pins = [line.split()[0] for line in text.splitlines() if not line.startswith(" ")]
        assert pins
        assert all("==" in pin for pin in pins)
        assert text.count("--hash=sha256:") >= len(pins)
        assert not HARMFUL & set(pins)


def test_the_locks_of_the_images_agree_with_what_is_tested() -> None:
    def pins(lock: str) -> set[str]:
        lines = (ROOT / "requirements" / lock).read_text(encoding="utf-8").splitlines()
        return {line.split()[0] for line in lines if not line.startswith(" ")}

    for lock in ("api.lock", "worker.lock", "build.lock"):
        assert pins(lock) <= pins("dev.lock")


def test_the_api_image_holds_no_agent_framework() -> None:
    text = (ROOT / "requirements/api.lock").read_text(encoding="utf-8")
    held = set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE))
    assert not held & {"aiohttp", "arq", "genai-prices", "openai", "pydantic-ai-slim"}


def test_whatever_stands_beside_the_code_goes_into_the_wheel(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    owed = {
        str(path.relative_to((ROOT / tier).parent))
        for path in tracked()
        for tier in TIERS
        if path.is_relative_to(ROOT / tier)
    }
    assert owed
    assert owed - held == set()


def test_the_command_line_starts_where_only_a_worker_is_installed() -> None:
    """Its image has none of what the API tier alone needs."""

    def pins(lock: str) -> set[str]:
        text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
        return set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE))

    lacking = sorted(name.replace("-", "_") for name in pins("api.lock") - pins("worker.lock"))
    without = f"import sys; sys.modules.update(dict.fromkeys({lacking!r}))"
    program = f"{without}\nimport trunkline.__main__, trunkline_api.settings"
    subprocess.run([sys.executable, "-c", program], check=True)
