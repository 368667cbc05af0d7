from pathlib import Path
from typing import Any

from tests.worker.backends.driving import request, said
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.config.toolsets import ExecutionTools
from trunkline_worker.claude_code.grants import granted
from trunkline_worker.claude_code.lodging import Lodging
from trunkline_worker.claude_code.options import options, output_format, variables
from trunkline_worker.models import ModelSpec
from trunkline_worker.sandbox.walls import Sandbox
from trunkline_worker.sandbox.workspace import Workspace

SPEC = ModelSpec(provider="anthropic", name="claude-x", base_url="http://a", api_key="sk-planted")
HOUSE = Path("/nowhere")
PLACE = Lodging(HOUSE, HOUSE, HOUSE, Sandbox("none"), Workspace(HOUSE))


def told(*toolsets: Any, **fields: Any) -> dict[str, Any]:
    agent = AgentConfig(
        name="test", type="claude_code", model="claude-x", system_prompt="Be kind.", **fields
    )
    run = request(transcript=[said("Be brief.", "system"), said("hi")])
    return options(agent, run, granted(toolsets, {}), SPEC, PLACE, "/work")


def test_nothing_that_lies_in_a_workspace_says_what_is_allowed() -> None:
    given = told(ExecutionTools())
    assert given["setting_sources"] == [] and given["strict_mcp_config"]
    assert given["permission_mode"] == "dontAsk" and given["verbatim_prompts"]
    assert given["tools"] == given["allowed_tools"] and "Bash" in given["tools"]


def test_its_own_prompt_stands_before_ours_where_it_has_tools() -> None:
    assert told()["system_prompt"] == "Be kind.\n\nBe brief."
    preset = told(ExecutionTools())["system_prompt"]
    assert preset["preset"] == "claude_code" and preset["append"] == "Be kind.\n\nBe brief."
    own = told(ExecutionTools(), claude_code={"include_builtin_system_prompt": False})
    assert own["system_prompt"] == "Be kind.\n\nBe brief."
    assert told(claude_code={"max_thinking_tokens": 9})["thinking"]["budget_tokens"] == 9


def test_its_environment_has_no_key_and_is_quiet() -> None:
    given = variables(granted([], {"HOME": "/root", "MINE": "1"}), SPEC, PLACE, {"DOOR": "x"}, 7)
    assert "sk-planted" not in given.values()
    assert (given["HOME"], given["MINE"], given["DOOR"]) == ("/nowhere", "1", "x")
    assert given["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "7"
    assert given["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] == given["DISABLE_TELEMETRY"] == "1"


def test_formats_become_schemas() -> None:
    assert output_format(None) is None is output_format({"type": "text"})
    schema = {"type": "object", "properties": {"a": {}}}
    assert output_format({"type": "json_schema", "schema": schema}) == {
        "type": "json_schema",
        "schema": schema,
    }
    loose = output_format({"type": "json_object"})
    assert loose is not None and loose["schema"] == {"type": "object"}
