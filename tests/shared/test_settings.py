"""Settings from options and variables: what wins, and what is refused in words."""

import re

import pytest

from trunkline_api.settings import ApiSettings
from trunkline_shared.errors import ConfigError
from trunkline_shared.settings import STORED, CommonSettings
from trunkline_worker.settings import WorkerSettings


def test_an_option_wins_over_its_variable_and_that_over_the_default() -> None:
    environ = {"TRUNKLINE_PORT": "8001", "TRUNKLINE_HOST": "::1"}
    settings = ApiSettings.from_environ(environ, port=8002)
    assert (settings.port, settings.host, settings.grace_s) == (8002, "::1", 30.0)


def test_an_empty_variable_counts_as_unset() -> None:
    assert ApiSettings.from_environ({"TRUNKLINE_PORT": ""}).port == 8000


def test_lists_are_separated_by_commas() -> None:
    settings = WorkerSettings.from_environ({"TRUNKLINE_POOL": "default, coding,"})
    assert settings.pool == ("default", "coding")


@pytest.mark.parametrize("given", [("a,b", "c"), "a, b,c"])
def test_a_list_is_the_same_in_one_option_and_in_several(given: str | tuple[str, ...]) -> None:
    assert ApiSettings.from_environ({}, api_key=given).api_key == ("a", "b", "c")


@pytest.mark.parametrize("given", [("",), ", ,", ()])
def test_a_list_that_names_nothing_is_refused(given: str | tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"^--api-key \(TRUNKLINE_API_KEY\): expected at least"):
        ApiSettings.from_environ({}, api_key=given)
    with pytest.raises(ConfigError, match=r"^TRUNKLINE_POOL: expected at least one"):
        WorkerSettings.from_environ({"TRUNKLINE_POOL": " ,"})


def test_no_key_is_shown_by_the_settings() -> None:
    assert "secret" not in repr(ApiSettings.from_environ({"TRUNKLINE_API_KEY": "secret"}))


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        (ApiSettings, "port", "70000"),
        (ApiSettings, "port", "http"),
        (ApiSettings, "heartbeat_s", "0"),
        (ApiSettings, "write_timeout_s", "inf"),
        (ApiSettings, "queue_timeout_s", "nan"),
        (ApiSettings, "max_concurrent", "-1"),
        (ApiSettings, "docs", "perhaps"),
        (WorkerSettings, "slots", "0"),
        (WorkerSettings, "slots", "1.5"),
        (WorkerSettings, "pool", "a b"),
        (WorkerSettings, "drain_s", "-1"),
        (CommonSettings, "prefix", "it's"),
        (CommonSettings, "lease_ttl_ms", "10"),
        (CommonSettings, "log_format", "xml"),
    ],
)
def test_a_bad_value_is_refused_with_the_name_of_what_was_given(
    settings: type[CommonSettings], name: str, value: str
) -> None:
    option, variable = "--" + name.replace("_", "-"), f"TRUNKLINE_{name.upper()}"
    with pytest.raises(ConfigError, match=re.escape(f"{option} ({variable}): ")):
        settings.from_environ({}, **{name: value})
    with pytest.raises(ConfigError, match=f"^{variable}: ") as refused:
        settings.from_environ({variable: value})
    assert value.split()[0] in str(refused.value)
    assert "\n" not in str(refused.value)


def test_each_kind_of_what_is_stored_may_be_kept_for_its_own_time() -> None:
    environ = {"TRUNKLINE_RETENTION_S": "100", "TRUNKLINE_RESPONSES_RETENTION_S": "7"}
    settings = CommonSettings.from_environ(environ)
    assert [settings.retention_of(kind) for kind in STORED] == [7, 100, 100]
    with pytest.raises(ConfigError, match="TRUNKLINE_COMPLETIONS_RETENTION_S"):
        CommonSettings.from_environ({"TRUNKLINE_COMPLETIONS_RETENTION_S": "0"})
