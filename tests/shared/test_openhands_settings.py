import pytest

from trunkline_api.settings import ApiSettings
from trunkline_shared.openhands_settings import is_openhands_key
from trunkline_shared.settings import CommonSettings


def test_indexed_session_keys_win_over_the_single_one_and_keep_their_order() -> None:
    environ = {f"OH_SESSION_API_KEYS_{number}": f"key{number}" for number in (10, 2, 0)}
    settings = ApiSettings.from_environ({**environ, "SESSION_API_KEY": "single"})
    assert settings.session_api_key == ("key0", "key2", "key10")


def test_the_single_session_key_counts_where_the_indexed_ones_are_empty() -> None:
    settings = ApiSettings.from_environ({"OH_SESSION_API_KEYS_0": "", "SESSION_API_KEY": "single"})
    assert settings.session_api_key == ("single",)


@pytest.mark.parametrize(
    ("environ", "secret_key"),
    [
        ({}, None),
        ({"SESSION_API_KEY": "single"}, "single"),
        ({"SESSION_API_KEY": "single", "OH_SECRET_KEY": "theirs"}, "theirs"),
        ({"OH_SECRET_KEY": "theirs", "TRUNKLINE_SECRET_KEY": "ours"}, "ours"),
    ],
)
def test_the_secret_key_is_ours_or_theirs_or_the_first_session_key(
    environ: dict[str, str], secret_key: str | None
) -> None:
    assert CommonSettings.from_environ(environ).secret_key == secret_key


@pytest.mark.parametrize(
    "environ",
    [
        {"OH_PREVIOUS_SECRET_KEYS": '["one", "two"]'},
        {"OH_PREVIOUS_SECRET_KEYS": "one, two"},
        {"OH_PREVIOUS_SECRET_KEYS_0": "one", "OH_PREVIOUS_SECRET_KEYS_1": "two"},
        {"TRUNKLINE_PREVIOUS_SECRET_KEYS": '["one","two"]'},
        {"TRUNKLINE_PREVIOUS_SECRET_KEYS": "one,two", "OH_PREVIOUS_SECRET_KEYS": "other"},
    ],
)
def test_previous_secret_keys_may_be_said_in_several_ways(environ: dict[str, str]) -> None:
    assert CommonSettings.from_environ(environ).previous_secret_keys == ("one", "two")


def test_a_key_may_have_a_comma() -> None:
    environ = {"SESSION_API_KEY": "a,b", "OH_PREVIOUS_SECRET_KEYS_0": "one, two"}
    settings = ApiSettings.from_environ(environ)
    assert settings.session_api_key == ("a,b",)
    assert settings.previous_secret_keys == ("one, two",)


def test_json_that_is_no_list_of_strings_never_becomes_a_key_that_can_be_guessed() -> None:
    for given in ("[null]", "[1, 2]", "null"):
        assert ApiSettings.from_environ({"OH_SESSION_API_KEYS": given}).session_api_key == (given,)


def test_keys_never_show_in_what_settings_print() -> None:
    environ = {"SESSION_API_KEY": "planted", "OH_PREVIOUS_SECRET_KEYS": "planted"}
    assert "planted" not in repr(ApiSettings.from_environ(environ))


def test_callers_keys_are_told_from_other_variables() -> None:
    assert is_openhands_key("SESSION_API_KEY") and is_openhands_key("OH_SESSION_API_KEYS_12")
    assert not is_openhands_key("OH_SECRET_KEY") and not is_openhands_key("MY_SESSION_API_KEY")
