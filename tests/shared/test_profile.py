import pytest

from trunkline_shared.config.models import AgentConfig, Config, Profiles
from trunkline_shared.config.toolsets import (
    ExecutionTools,
    FileAccess,
    Tasks,
    resolve_toolsets,
)
from trunkline_shared.errors import ConfigError
from trunkline_shared.llm import Llm
from trunkline_shared.profile import (
    PROFILE_AGENT,
    NoSecretKey,
    is_profile_name,
    open_llm,
    profile_agent,
    seal_llm,
)
from trunkline_shared.vault import Unreadable, Vault

VAULT = Vault("any text")


def config(agent: str | None = None, **agents: AgentConfig) -> Config:
    return Config(path="agents.yml", agents=agents, profiles=Profiles(agent=agent))


def test_a_profile_comes_back_with_what_was_set_and_no_more() -> None:
    llm = Llm(model="openai/x", api_key="sk-1", temperature=0.5)
    sealed = seal_llm(llm, VAULT)
    assert "sk-1" not in sealed
    opened = open_llm(sealed, VAULT)
    assert opened == llm
    assert opened.model_fields_set == {"model", "api_key", "temperature"}


def test_without_a_secret_key_only_what_hides_nothing_is_kept() -> None:
    nowhere = Vault(None)
    plain = Llm(model="x", extra_headers={"x-team": "red"})
    assert open_llm(seal_llm(plain, nowhere), nowhere) == plain
    for secret in (
        {"api_key": "sk-1"},
        {"aws_session_token": "t"},
        {"extra_headers": {"Cookie": "c"}},
        {"extra_headers": {"X-Some-Token": "t"}},
    ):
        with pytest.raises(NoSecretKey, match="TRUNKLINE_SECRET_KEY"):
            seal_llm(Llm.model_validate({"model": "x", **secret}), nowhere)


@pytest.mark.parametrize("stored", ["", "[]", "{}", '{"v": 2, "llm": {"model": "x"}}', "nonsense"])
def test_what_is_no_record_is_unreadable(stored: str) -> None:
    with pytest.raises(Unreadable):
        open_llm(stored, VAULT)


def test_a_record_of_another_key_is_unreadable() -> None:
    sealed = seal_llm(Llm(model="x"), Vault("another"))
    with pytest.raises(Unreadable, match="TRUNKLINE_SECRET_KEY"):
        open_llm(sealed, VAULT)


def test_no_secret_is_in_what_an_llm_shows_of_itself() -> None:
    llm = Llm(model="x", api_key="sk-planted", extra_headers={"Authorization": "planted"})
    assert "planted" not in repr(llm)


@pytest.mark.parametrize(
    ("name", "good"),
    [
        *(("a", True), ("A.b_c-1", True), ("0", True), ("x" * 64, True)),
        *(("", False), (".a", False), ("a b", False), ("a/b", False), ("x" * 65, False)),
        *(("a\n", False), ("\u00e9", False), ("*", False)),
    ],
)
def test_names_are_those_of_openhands(name: str, good: bool) -> None:
    assert is_profile_name(name) is good


def test_a_coding_agent_runs_profiles_where_the_operator_says_so() -> None:
    agent = profile_agent(Config(path="agents.yml", agents={}, profiles=Profiles(coding=True)))
    assert agent.name == PROFILE_AGENT
    assert resolve_toolsets(agent, {}) == [FileAccess(), ExecutionTools(), Tasks()]
    assert agent.system_prompt


def test_profiles_are_run_by_a_plain_agent_unless_one_is_named() -> None:
    plain = profile_agent(config())
    assert (plain.name, plain.type, plain.pool, plain.slots) == (
        PROFILE_AGENT,
        "chat",
        "default",
        1,
    )
    assert plain.system_prompt == ()
    base = AgentConfig(name="base", model=("openai:x",), api_key="k", pool="slow", slots=3)
    named = profile_agent(config("base", base=base))
    assert (named.name, named.pool, named.slots) == (PROFILE_AGENT, "slow", 3)
    assert (named.model, named.api_key) == ((), None)


def test_naming_an_agent_that_does_not_exist_is_an_error_of_the_file() -> None:
    with pytest.raises(ConfigError, match=r"agents.yml: profiles.agent names 'nobody'"):
        profile_agent(config("nobody"))
