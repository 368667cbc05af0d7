import json
import shlex

import pytest

from trunkline.banner import banner, curl, key_variable
from trunkline_api.settings import ApiSettings
from trunkline_shared.config.readiness import Readiness

READY = Readiness(True)


def test_the_curl_line_survives_a_shell() -> None:
    words = shlex.split(curl("http://h:1", 'o\'brien "$HOME"', None))
    assert words[:3] == ["curl", "-N", "http://h:1/v1/chat/completions"]
    assert json.loads(words[-1])["model"] == 'o\'brien "$HOME"'


def test_the_key_is_named_only_where_one_is_needed() -> None:
    assert "${SESSION_API_KEY%%,*}" in banner("http://h:1", {"a": READY}, "SESSION_API_KEY")
    lacking = Readiness(False, ("A_KEY is not set",))
    shown = banner("http://h:1", {"a": lacking, "b": READY}, None)
    assert "Authorization" not in shown
    assert shown.splitlines()[:3] == [
        "Trunkline serves http://h:1/v1",
        "models: b",
        "  a cannot run here: A_KEY is not set",
    ]
    assert '"model": "b"' in shown


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({}, None),
        ({"TRUNKLINE_API_KEY": "a,b"}, "TRUNKLINE_API_KEY"),
        ({"TRUNKLINE_API_KEY": "a", "SESSION_API_KEY": "s"}, "TRUNKLINE_API_KEY"),
        ({"SESSION_API_KEY": "s"}, "SESSION_API_KEY"),
        ({"SESSION_API_KEY": "s", "OH_SESSION_API_KEYS_1": "one"}, "OH_SESSION_API_KEYS_1"),
        ({"TRUNKLINE_SESSION_API_KEY": "a,b", "LIKE_IT": "a"}, "TRUNKLINE_SESSION_API_KEY"),
        ({"OH_SESSION_API_KEYS": '["a"]'}, "TRUNKLINE_API_KEY"),  # no shell reads a key from that
    ],
)
def test_the_variable_is_one_that_holds_a_key(
    environ: dict[str, str], variable: str | None
) -> None:
    assert key_variable(ApiSettings.from_environ(environ), environ) == variable
