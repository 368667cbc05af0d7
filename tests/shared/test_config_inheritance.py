"""`inherits` among agents, `INHERIT` among files."""

from pathlib import Path
from textwrap import dedent

import pytest

from trunkline_shared.config.load import load_config
from trunkline_shared.config.models import Config
from trunkline_shared.errors import ConfigError


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # so that messages name the file as the operator wrote it
    return tmp_path


def write(directory: Path, **files: str) -> None:
    for name, text in files.items():
        (directory / f"{name}.yml").write_text(dedent(text).lstrip("\n"), "utf-8")


def load(directory: Path, **files: str) -> Config:
    write(directory, **files)
    return load_config(Path("main.yml"), {})


def refusal(directory: Path, **files: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(directory, **files)
    return str(caught.value)


def test_the_keys_of_a_child_replace_those_of_its_parents(directory: Path) -> None:
    config = load(
        directory,
        main="""
        agents:
          base: {model: "ollama:x", system_prompt: A, settings: {seed: 1}, limits: {timeout_s: 5}}
          child: {inherits: base, system_prompt: B, settings: {temperature: 0}}
          grandchild: {inherits: child, limits: }
        """,
    )
    child, grandchild = config.agents["child"], config.agents["grandchild"]
    assert (child.model, child.system_prompt) == (("ollama:x",), ("B",))
    assert child.settings == {"temperature": 0}
    assert child.limits.timeout_s == 5
    assert grandchild.system_prompt == ("B",)
    assert grandchild.limits.timeout_s == 600


def test_what_several_agents_inherit_is_ignored_once(directory: Path) -> None:
    config = load(
        directory,
        main="agents: {a: {model: echo, session: x}, b: {inherits: a}, c: {inherits: a}}",
    )
    assert [each.key for each in config.ignored] == ["agents.a.session"]


def test_mistakes_in_what_is_inherited_are_said_where_they_were_made(directory: Path) -> None:
    assert refusal(
        directory,
        main="""
        agents:
          child: {inherits: base}
          base:
            model: {identifier: "ollama:x", temperature: hot}
        """,
    ).startswith("main.yml:4: agents.base.model.temperature: expected a number")


@pytest.mark.parametrize(
    ("agents", "reason"),
    [
        ("{a: {inherits: b}}", "main.yml:1: agents.a.inherits: there is no agent 'b'"),
        ("{a: {inherits: [b]}}", "main.yml:1: agents.a.inherits: there is no agent ['b']"),
        ("{a: {inherits: b}, b: {inherits: a}}", "main.yml:1: agents.b.inherits: a cycle: a -> b"),
    ],
)
def test_a_parent_that_is_not_there_and_a_cycle_are_refused(
    directory: Path, agents: str, reason: str
) -> None:
    assert refusal(directory, main=f"agents: {agents}").startswith(reason)


def test_a_file_lies_over_those_it_inherits_and_the_later_over_the_earlier(
    directory: Path,
) -> None:
    config = load(
        directory,
        main="""
        INHERIT: [one.yml, two.yml]
        agents:
          a: {description: main, system_prompt: [main]}
          b: {inherits: a}
        """,
        one="agents: {a: {model: 'ollama:one', pool: one, system_prompt: [one]}}",
        two="""
        INHERIT: three.yml
        agents: {a: {model: 'ollama:two', description: two}}
        """,
        three="agents: {a: {slots: 3}, c: {model: echo}}",
    )
    found = config.agents["a"]
    assert (found.model, found.pool, found.slots) == (("ollama:two",), "one", 3)
    assert (found.description, found.system_prompt) == ("main", ("one", "main"))
    assert config.agents["b"].model == ("ollama:two",)
    assert set(config.agents) == {"a", "b", "c"}


def test_a_mistake_and_an_ignored_key_are_named_with_their_own_file_and_line(
    directory: Path,
) -> None:
    main = "INHERIT: base.yml\nagents: {a: {tools: [{type: bash}, {type: bsh}]}}"
    base = "storage: x\nagents:\n  a:\n    model: echo\n    tools:\n    - os.getcwd\n"
    assert refusal(directory, main=main, base=base) == (
        "main.yml:2: agents.a.tools.1: a toolset needs a known 'type', got 'bsh', "
        "did you mean 'bash'?"
    )
    main = main.replace("bsh", "bash")
    assert refusal(directory, main=main, base=base + "    slots: 0\n").startswith(
        "base.yml:7: agents.a.slots: expected a number of at least 1"
    )
    assert [each.place for each in load(directory, main=main, base=base).ignored] == ["base.yml:1"]


def test_prompt_files_lie_beside_the_file_that_names_them(directory: Path) -> None:
    (directory / "sub").mkdir()
    (directory / "sub" / "p.md").write_text("P", "utf-8")
    (directory / "sub" / "base.yml").write_text(
        "agents: {a: {model: echo, system_prompt: {type: file, path: p.md}}}", "utf-8"
    )
    config = load(directory, main="INHERIT: sub/base.yml\nagents: {b: {inherits: a}}")
    assert config.agents["a"].system_prompt == config.agents["b"].system_prompt == ("P",)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("none.yml", "no such file: none.yml"),
        ("https://example.com/base.yml", "'https://example.com/base.yml' is not a local file"),
        ("[3]", "expected the path of a YAML file"),
        ("main.yml", "main.yml inherits this file in turn"),
        ("other.yml", "main.yml inherits this file in turn"),
    ],
)
def test_what_cannot_be_inherited_is_refused(directory: Path, given: str, reason: str) -> None:
    place = "other.yml" if given == "other.yml" else "main.yml"
    assert refusal(directory, main=f"INHERIT: {given}", other="INHERIT: main.yml").startswith(
        f"{place}:1: INHERIT: {reason}"
    )
