from pathlib import Path

import pytest

from trunkline.plan import make_plan
from trunkline.settings import unknown_variables
from trunkline_shared.errors import ConfigError

CONFIG = """
agents:
  one: {model: echo}
  two: {model: echo, pool: coding}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agents.yml"
    path.write_text(CONFIG)
    return path


def test_workers_serve_every_pool_of_the_file_unless_told_otherwise(config: Path) -> None:
    plan = make_plan(config, {}, {})
    assert plan.pools == ("default", "coding")
    assert plan.worker_environ["TRUNKLINE_POOL"] == "default,coding"
    assert make_plan(config, {"pool": "coding"}, {}).pools == ("coding",)
    assert make_plan(config, {}, {"TRUNKLINE_POOL": "coding"}).pools == ("coding",)


def test_workspaces_lie_in_the_data_directory_unless_told_otherwise(config: Path) -> None:
    plan = make_plan(config, {"data_dir": "/data"}, {})
    assert plan.worker_environ["TRUNKLINE_WORKSPACES"] == "/data/workspaces"
    plan = make_plan(config, {"data_dir": "/data"}, {"TRUNKLINE_WORKSPACES": "/elsewhere"})
    assert plan.worker_environ["TRUNKLINE_WORKSPACES"] == "/elsewhere"


def test_the_api_outlives_the_drain_of_the_workers(config: Path) -> None:
    plan = make_plan(config, {"drain_s": "5"}, {})
    assert plan.api.grace_s == 7
    assert plan.api_environ["TRUNKLINE_GRACE_S"] == "7.0"
    assert plan.stop_timeout_s == 11
    given = make_plan(config, {"drain_s": "5"}, {"TRUNKLINE_GRACE_S": "20"})
    assert given.api.grace_s == 20
    assert given.stop_timeout_s == 24


def test_keys_reach_children_by_variable_and_not_by_command_line(config: Path) -> None:
    plan = make_plan(config, {"api_key": ("one", "two")}, {"PATH": "/bin"})
    assert plan.api_environ["TRUNKLINE_API_KEY"] == "one,two"
    assert plan.api_environ["PATH"] == "/bin"
    assert "one" not in plan.api_command
    assert "two" not in repr(plan).replace("two: ", "").replace("'two'", "")


def test_without_a_file_there_is_an_echo_agent() -> None:
    assert list(make_plan(None, {}, {}).config.agents) == ["echo"]


@pytest.mark.parametrize("options", [{"slots": "many"}, {"port": "x"}, {"workers": "0"}])
def test_a_mistake_of_any_tier_is_found_before_anything_starts(
    config: Path, options: dict[str, str]
) -> None:
    with pytest.raises(ConfigError):
        make_plan(config, options, {})


def test_no_tier_gets_the_keys_of_the_other(tmp_path: Path) -> None:
    path = tmp_path / "agents.yml"
    path.write_text("agents: {a: {model: 'vllm:m', base_url: 'http://h/v1', api_key: '${MINE}'}}")
    environ = {"MINE": "m", "OPENAI_API_KEY": "o", "TRUNKLINE_API_KEY": "t", "HOME": "/root"}
    plan = make_plan(path, {}, environ)
    assert environ.keys() - plan.api_environ.keys() == {"MINE", "OPENAI_API_KEY"}
    assert environ.keys() - plan.worker_environ.keys() == {"TRUNKLINE_API_KEY"}


def test_secrets_of_toolsets_reach_workers_only(tmp_path: Path) -> None:
    path = tmp_path / "agents.yml"
    headers, env = "{Authorization: 'Bearer ${SHOP_TOKEN}'}", "{HOME: '${HOME}'}"
    path.write_text(
        "agents: {a: {model: 'ollama:m', toolsets: ["
        f"{{type: mcp, url: 'http://x', headers: {headers}}}, {{type: execution, env: {env}}}]}}}}"
    )
    environ = {"SHOP_TOKEN": "t", "HOME": "/root"}
    plan = make_plan(path, {}, environ)
    assert environ.keys() - plan.api_environ.keys() == {"SHOP_TOKEN"}
    assert environ.keys() <= plan.worker_environ.keys()


@pytest.mark.parametrize(
    "name",
    [
        "SESSION_API_KEY",
        "OH_SESSION_API_KEYS_0",
        "OH_SESSION_API_KEYS",
        "TRUNKLINE_SESSION_API_KEY",
    ],
)
def test_session_keys_reach_no_worker(name: str) -> None:
    plan = make_plan(None, {}, {name: "a-session-key", "HOME": "/root"})
    assert plan.api.session_api_key == ("a-session-key",)
    assert plan.api_environ[name] == "a-session-key"
    assert "a-session-key" not in plan.worker_environ.values()


@pytest.mark.parametrize("name", ["TRUNKLINE_WEBHOOKS", "OH_WEBHOOKS"])
def test_secrets_of_webhooks_reach_no_worker(name: str) -> None:
    webhooks = '[{"base_url": "http://x", "headers": {"X-Key": "word"}}]'
    responses = '[{"url": "http://x", "secret": "whsec_%s"}]' % ("word" * 8)
    environ = {
        "TRUNKLINE_RESPONSE_WEBHOOKS": responses,
        name: webhooks,
        "OH_WEBHOOKS_0_HEADERS": '{"X-Key": "word"}',
    }
    plan = make_plan(None, {}, environ)
    assert plan.api_environ[name] == webhooks
    assert "word" not in str(plan.worker_environ)


def test_a_misspelt_variable_is_told_and_others_are_left_alone() -> None:
    environ = {
        "TRUNKLINE_API_KEYS": "k",
        "TRUNKLINE_SERVICE_HOST": "10.0.0.1",
        "TRUNKLINE_PUBLISH": "127.0.0.1:8000",
        "TRUNKLINE_PORT": "1",
    }
    (sentence,) = unknown_variables(environ)
    assert sentence.startswith("TRUNKLINE_API_KEYS is no setting")
    assert sentence.endswith("did you mean TRUNKLINE_API_KEY?")
