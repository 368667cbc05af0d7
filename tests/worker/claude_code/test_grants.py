from typing import Any

import pytest

from trunkline_shared.config.toolsets import parse_toolset
from trunkline_worker.claude_code.grants import Grants, granted


def grants(*toolsets: dict[str, Any], **variables: str) -> Grants:
    return granted([parse_toolset(each) for each in toolsets], variables)


def test_toolsets_decide_which_tools_there_are() -> None:
    assert grants().tools == grants().allowed == []
    looking = grants({"type": "file_access", "read_only": True})
    assert looking.tools == ["Read", "Glob", "Grep"] and not looking.network
    changing = grants({"type": "file_access"}, {"type": "tasks"})
    assert {"Write", "Edit", "TaskCreate"} <= set(changing.tools) and "Bash" not in changing.tools
    assert changing.effect_of("Read") == "pure" and changing.effect_of("Write") == "idempotent"


def test_commands_have_their_timeout_and_variables() -> None:
    toolset = {"type": "execution", "timeout_s": 7, "env": {"A": "1"}, "network": True}
    given = grants(toolset, B="2")
    assert given.tools[0] == "Bash" and given.network
    assert given.variables["BASH_MAX_TIMEOUT_MS"] == "7000"
    assert (given.variables["A"], given.variables["B"]) == ("1", "2")
    assert given.effect_of("Bash") == "at_most_once" and given.toolset_of("Bash") == "execution"


def test_mcp_servers_are_known_under_names_of_their_own() -> None:
    given = grants(
        {"type": "mcp", "command": "/opt/bin/files --ro", "tools": ["read"], "effect": "pure"},
        {"type": "mcp", "url": "https://tools.example/mcp", "headers": {"x": "y"}},
        {"type": "mcp", "url": "https://tools.example/mcp", "disabled_tools": ["rm"]},
    )
    assert given.servers["files"] == {
        "type": "stdio",
        "command": "/opt/bin/files",
        "args": ["--ro"],
        "env": {},
    }
    names = [name for name in given.servers if name != "files"]
    assert [given.servers[name]["type"] for name in names] == ["http", "http"]
    assert given.allowed == ["mcp__files__read", f"mcp__{names[0]}", f"mcp__{names[1]}"]
    assert given.denied == [f"mcp__{names[1]}__rm"] and given.network
    assert given.effect_of("mcp__files__read") == "pure"
    assert given.name_of("mcp__files__read") == "read"
    assert given.toolset_of(f"mcp__{names[0]}__go") == "tools.example"


@pytest.mark.parametrize(
    "toolset",
    [{"type": "agents"}, {"type": "import", "import_path": "a:b"}],
)
def test_what_the_command_line_cannot_have_is_refused(toolset: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"cannot have a toolset {toolset['type']}"):
        grants(toolset)


def test_a_summary_has_no_tools_but_the_same_variables() -> None:
    none = grants({"type": "execution", "network": True}, A="1").none()
    assert (none.tools, none.allowed, none.servers, none.network) == ([], [], {}, False)
    assert none.variables["A"] == "1"
