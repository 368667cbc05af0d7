import ast
import re
from inspect import getmembers, isfunction
from pathlib import Path

import pytest

import trunkline_shared.keys
from trunkline_shared.keys import Keys

ROOT = Path(__file__).parents[2]
BUILDERS = [name for name, _ in getmembers(Keys, isfunction) if name[0] != "_" and name != "stems"]


@pytest.mark.parametrize("name", [name for name in BUILDERS if name != "job"])
def test_every_key_carries_the_prefix_and_its_id(name: str) -> None:
    key = getattr(Keys("mine"), name)("the-id")
    assert key.startswith("mine:") and key.endswith(":the-id")


def test_only_arqs_own_job_key_does_not() -> None:
    assert Keys("mine").job("the-id") == "arq:job:the-id"


def test_no_two_things_share_a_key() -> None:
    keys = [getattr(Keys(), name)("x") for name in BUILDERS]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", BUILDERS)
def test_the_scripts_build_the_same_keys(name: str) -> None:
    assert Keys("mine").stems()[name] == getattr(Keys("mine"), name)("")


def test_no_other_file_builds_a_key() -> None:
    stems = {stem for stem in trunkline_shared.keys._STEMS.values() if stem.endswith(":")}
    for tier in ("shared", "api", "worker", "trunkline"):
        for path in (ROOT / tier).rglob("*.py"):
            if path.name == "keys.py":
                continue
            texts = {
                node.value
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
            found = {text for text in texts if text in stems or re.match(r"trunkline:\S", text)}
            # Tasks are named after what they do: these are no keys.
            assert found <= {"run:", "queue:"}, (path, found)
