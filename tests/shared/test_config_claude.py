"""Agents of type `claude_code`, whose keys AgentPool has too."""

from typing import Any

import pytest

from trunkline_shared.config.load import load_config
from trunkline_shared.config.models import ClaudeCode, Config
from trunkline_shared.config.readiness import readiness
from trunkline_shared.errors import ConfigError


def load(**keys: Any) -> Config:
    return load_config({"agents": {"a": {"type": "claude_code", **keys}}}, {})


def test_agentpools_keys_are_limits_a_chain_and_its_own() -> None:
    config = load(
        model="sonnet",
        fallback_model="haiku",
        max_turns=5,
        max_budget_usd=0.5,
        env={"TOKEN": "${TOKEN}"},
        max_thinking_tokens=2048,
        include_builtin_system_prompt=False,
        permission_mode="bypassPermissions",
        dangerously_skip_permissions=True,
        allowed_tools=[],
    )
    found = config.agents["a"]
    assert found.model == ("anthropic:sonnet", "anthropic:haiku")
    assert (found.limits.max_requests, found.limits.max_cost) == (5, 0.5)
    assert found.claude_code == ClaudeCode(
        env={"TOKEN": "${TOKEN}"}, max_thinking_tokens=2048, include_builtin_system_prompt=False
    )
    assert [each.key for each in config.ignored] == [
        "agents.a.permission_mode",
        "agents.a.dangerously_skip_permissions",
    ]
    lacks = set(readiness(found, {"ANTHROPIC_API_KEY": "k"}).missing)
    assert lacks - {'needs: pip install "trunkline[claude]"'} == {"TOKEN is not set"}
    assert load(model="opus").agents["a"].claude_code == ClaudeCode()


@pytest.mark.parametrize(
    ("keys", "lack"),
    [
        ({"permission_mode": "plan"}, "permission_mode: plan has no equal"),
        ({"builtin_tools": ["Read"]}, "builtin_tools has no equal in this version: toolsets say"),
        ({"cwd": "/srv"}, "cwd has no equal in this version: its tools see the run's workspace"),
        ({"model": "openai:x"}, "type claude_code asks over the API of anthropic, not of openai"),
    ],
)
def test_what_a_coding_agent_cannot_have_is_said(keys: dict[str, Any], lack: str) -> None:
    agent = load(**{"model": "sonnet", **keys}).agents["a"]
    missing = readiness(agent, {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}).missing
    assert any(sentence.startswith(lack) for sentence in missing)


def test_its_own_keys_stand_under_its_type_and_belong_to_no_other() -> None:
    own = {"max_thinking_tokens": 9, "env": {"A": "b"}}
    assert load(model="sonnet", claude_code=own).agents["a"].claude_code == ClaudeCode(
        max_thinking_tokens=9, env={"A": "b"}
    )
    with pytest.raises(ConfigError, match="claude_code: only type claude_code has it"):
        load_config({"agents": {"a": {"model": "echo", "claude_code": own}}}, {})
    with pytest.raises(ConfigError, match="claude_code: unknown key 'turns'"):
        load(claude_code={"turns": 3})
