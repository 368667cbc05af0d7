"""The arguments of a server: what they become, and what is refused."""

from typing import Any

import pytest

from trunkline import AgentPool, OpenAIAPIServer
from trunkline.python_api.options import settings_from
from trunkline_shared.errors import ConfigError


def test_arguments_are_the_settings_of_both_tiers() -> None:
    options = {"port": 1, "slots": 3, "prefix": "mine", "drain_s": 2, "secret_key": None}
    api, worker = settings_from(options, api_key=["a,b", "c"], cors=True)
    assert (api.port, api.prefix, api.api_key, api.cors_origins) == (
        1,
        "mine",
        ("a,b", "c"),
        ("*",),
    )
    assert (worker.slots, worker.prefix, worker.drain_s) == (3, "mine", 2.0)


@pytest.mark.parametrize(
    ("cors", "origins"),
    [(False, ()), ("https://a.example", ("https://a.example",)), (["x", "y"], ("x", "y"))],
)
def test_cors_is_off_for_all_or_for_some(cors: Any, origins: tuple[str, ...]) -> None:
    assert settings_from({}, api_key=None, cors=cors)[0].cors_origins == origins


def test_variables_of_the_deployment_have_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_PORT", "1")
    assert OpenAIAPIServer(AgentPool()).port == 8000


@pytest.mark.parametrize("name", ["slot", "log_level", "pool", "cors_origins"])
def test_what_is_no_setting_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=f"no setting '{name}'"):
        settings_from({name: "x"}, api_key=None, cors=False)


@pytest.mark.parametrize("key", ["", " ", [], ["a", ""], [None]])
def test_an_empty_key_is_no_open_door(key: Any) -> None:
    with pytest.raises(ConfigError, match=r"^api_key: expected a text"):
        OpenAIAPIServer(AgentPool(), api_key=key)


def test_a_wrong_value_is_named_but_a_secret_is_not_shown() -> None:
    with pytest.raises(ConfigError, match=r"^port: .*, got 70000$"):
        OpenAIAPIServer(AgentPool(), port=70_000)
    with pytest.raises(ConfigError, match=r"^secret_key: [^,]*$"):
        OpenAIAPIServer(AgentPool(), secret_key=12345)


def test_a_data_directory_is_for_a_redis_of_the_servers_own() -> None:
    with pytest.raises(ConfigError, match=r"^data_dir: "):
        OpenAIAPIServer(AgentPool(), redis_url="redis://127.0.0.1", data_dir="x")
