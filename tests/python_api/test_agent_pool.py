"""Agents as values: what a pool holds, and what it refuses."""

from pathlib import Path

import pytest

from trunkline import AgentPool
from trunkline_shared.errors import ConfigError


async def test_a_pool_begins_empty_and_takes_agents() -> None:
    pool = AgentPool()
    assert dict(pool.agents) == {}
    agent = await pool.add_agent("hello", model="echo", system_prompt="Be brief.", slots=2)
    assert dict(pool.agents) == {"hello": agent}
    assert (agent.type, agent.system_prompt, agent.slots) == ("echo", ("Be brief.",), 2)


async def test_a_file_and_a_mapping_of_the_same_shape_make_the_same_pool(tmp_path: Path) -> None:
    (tmp_path / "agents.yml").write_text("agents: {a: {model: echo, limits: {timeout_s: 5}}}")
    values = {"agents": {"a": {"model": "echo", "limits": {"timeout_s": 5}}}}
    pools = [AgentPool(tmp_path / "agents.yml"), AgentPool(str(tmp_path / "agents.yml"))]
    for pool in (*pools, AgentPool(values)):
        assert pool.agents == AgentPool(values).agents
    async with AgentPool(values) as pool:
        await pool.add_agent("b", model=("openai:x", "ollama:y"))
    assert list(pool.agents) == ["a", "b"]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"modle": "echo"}, r"agents\.x: unknown key 'modle', did you mean 'model'\?"),
        ({}, r"agents\.x\.model: is missing"),
        ({"model": "nobody:gpt"}, r"agents\.x\.model: .*nobody"),
        ({"model": "echo", "slots": 0}, r"agents\.x\.slots: expected a number of at least 1"),
        ({"model": "echo", "limits": {"time": 1}}, r"agents\.x\.limits: unknown key 'time'"),
        ({"model": "echo", "system_prompt": "${NOWHERE_SET}"}, r"agents\.x\.system_prompt: NOWH"),
        ({"model": "echo", "system_prompt": "\ud83d"}, r"agents\.x\.system_prompt: half of a surr"),
    ],
)
async def test_a_mistake_is_one_line_that_names_agent_and_key(
    keys: dict[str, object], words: str
) -> None:
    pool = AgentPool()
    with pytest.raises(ConfigError, match=f"^{words}") as refused:
        await pool.add_agent("x", **keys)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
    assert dict(pool.agents) == {}
    with pytest.raises(ConfigError, match=f"^{words}"):
        AgentPool({"agents": {"x": keys}})


async def test_a_name_is_taken_until_its_agent_is_removed() -> None:
    pool = AgentPool({"agents": {"a": {"model": "echo"}}})
    with pytest.raises(ConfigError, match=r"^agents\.a: there is one of this name"):
        await pool.add_agent("a", model="echo")
    await pool.remove_agent("a")
    with pytest.raises(ConfigError, match=r"^agents\.a: there is no agent"):
        await pool.remove_agent("a")
    await pool.add_agent("a", model="echo", description="another")
    assert pool.agents["a"].description == "another"


def test_agents_are_read_only() -> None:
    with pytest.raises(TypeError):
        AgentPool().agents["a"] = None  # type: ignore[index]
