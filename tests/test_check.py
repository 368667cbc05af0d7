import io
from pathlib import Path

import pytest

from trunkline.check import check

AGENTS = """
agents:
  hello: {model: echo}
  gpt: {model: "openai:gpt-4o"}
  both: {model: "openai:gpt-4o, ollama:llama3", pool: coding}
  tooled:
    model: ollama:llama3
    toolsets: [{type: file_access}, {type: execution}]
    sandbox: none
  graph: {type: python, object: "no_such.graphs:graph", slots: 3}
"""

TABLE = """\
agent   type    model                         toolsets                pool     slots  lacks
hello   echo    echo                          -                       default  1      -
gpt     chat    openai:gpt-4o                 -                       default  1      OPENAI_API_KEY is not set
both    chat    openai:gpt-4o, ollama:llama3  -                       coding   1      runs in part: OPENAI_API_KEY is not set
tooled  chat    ollama:llama3                 file_access, execution  default  1      -
graph   python  no_such.graphs:graph          -                       default  3      there is no Python package 'no_such' here

3 of 5 agents can run here.

agent   takes none of its callers'
tooled  logprobs
graph   tools, formats, logprobs, files, audio
"""  # noqa: E501


def test_the_table_shows_every_agent_and_what_it_lacks(tmp_path: Path) -> None:
    path, out = tmp_path / "agents.yml", io.StringIO()
    path.write_text(AGENTS)
    assert check(path, {}, out) == 0
    assert out.getvalue() == TABLE


def test_keys_without_effect_are_listed_below_with_their_line_and_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, out = Path("agents.yml"), io.StringIO()
    path.write_text("agents:\n  a:\n    model: echo\n    avatar: x.png\nstorage: {}\n")
    assert check(path, {}, out) == 0
    assert out.getvalue().split("\n\n")[2] == (
        "ignored          line          because\n"
        "storage          agents.yml:5  what is stored lies in Redis, for as long as the "
        "deployment's settings say\n"
        "agents.a.avatar  agents.yml:4  no client shows one\n"
    )


def test_the_agent_of_profiles_is_listed_where_the_file_says_something_of_it(
    tmp_path: Path,
) -> None:
    path, out = tmp_path / "agents.yml", io.StringIO()
    path.write_text("agents: {a: {model: echo}}\nprofiles: {coding: true}")
    assert check(path, {}, out) == 0
    row = out.getvalue().splitlines()[2]
    assert row.split()[:3] == ["openhands_*", "chat", "-"]
    assert "file_access, execution, tasks" in row


def test_with_its_key_set_an_agent_lacks_nothing(tmp_path: Path) -> None:
    path, out = tmp_path / "agents.yml", io.StringIO()
    path.write_text("agents: {gpt: {model: 'openai:gpt-4o'}}")
    assert check(path, {"OPENAI_API_KEY": "sk-secret"}, out) == 0
    assert "sk-secret" not in out.getvalue()
    assert "1 of 1 agents can run here." in out.getvalue()


def test_a_wrong_file_is_one_line_on_stderr_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "agents.yml", io.StringIO()
    path.write_text("agents:\n  a: {modle: echo}\n")
    assert check(path, {}, out) == 1
    assert out.getvalue() == ""
    assert capsys.readouterr().err == (
        f"{path}:2: agents.a: unknown key 'modle', did you mean 'model'?\n"
    )
