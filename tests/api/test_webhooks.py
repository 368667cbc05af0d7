import orjson
import pytest

from trunkline_api.settings import ApiSettings
from trunkline_api.webhooks import Webhook
from trunkline_shared.errors import ConfigError


def settings(text: str, name: str = "TRUNKLINE_WEBHOOKS") -> ApiSettings:
    return ApiSettings.from_environ({name: text})


@pytest.mark.parametrize("name", ["TRUNKLINE_WEBHOOKS", "OH_WEBHOOKS"])
def test_webhooks_are_a_json_list_of_openhands_specs(name: str) -> None:
    spec = {"base_url": "https://hooks.example/a/", "headers": {"X-Key": "word"}, "num_retries": 1}
    (webhook,) = settings(orjson.dumps([spec]).decode(), name).webhooks
    assert (webhook.base_url, webhook.headers) == ("https://hooks.example/a", {"X-Key": "word"})
    assert (webhook.event_buffer_size, webhook.retry_delay) == (5, 5.0)
    assert settings("[]", name).webhooks == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hooks.example", "Invalid JSON"),
        ("{}", "should be a valid array"),
        ('[{"headers": {}}]', r"\[0\].base_url: Field required"),
        ('[{"base_url": "hooks.example"}]', r"\[0\].base_url: expected a URL"),
        ('[{"base_url": "https://me:word@x"}]', r"\[0\].base_url: a URL without user"),
        ('[{"base_url": "https://x", "headers": {"A": "word\\n"}}]', r"\[0\].headers: a header"),
        ('[{"base_url": "https://x", "headers": {"A": ["word"]}}]', r"\[0\].headers.A:"),
        ('[{"base_url": "https://x", "retries": 1}]', r"\[0\].retries: Extra"),
        ('[{"base_url": "https://x", "event_buffer_size": 0}]', r"\[0\].event_buffer_size:"),
    ],
)
def test_a_mistake_is_named_and_no_secret_shown(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"TRUNKLINE_WEBHOOKS.*{said}") as raised:
        settings(text)
    assert "word" not in str(raised.value)


def test_headers_are_shown_nowhere() -> None:
    webhook = Webhook(base_url="http://x", headers={"X-Key": "word"})
    assert "word" not in f"{webhook!r} {webhook} {ApiSettings(webhooks=(webhook,))!r}"


def test_openhands_indexed_variables_say_the_same() -> None:
    environ = {
        "OH_WEBHOOKS_1_BASE_URL": "http://b",
        "OH_WEBHOOKS_0_BASE_URL": "http://a/",
        "OH_WEBHOOKS_0_HEADERS": '{"X-Key": "k"}',
        "OH_WEBHOOKS_0_EVENT_BUFFER_SIZE": "2",
    }
    first, second = ApiSettings.from_environ(environ).webhooks
    assert (first.base_url, first.headers, first.event_buffer_size) == (
        "http://a",
        {"X-Key": "k"},
        2,
    )
    assert second.base_url == "http://b"
    assert ApiSettings.from_environ({**environ, "OH_WEBHOOKS": "[]"}).webhooks == ()


def test_indexed_headers_that_are_none_are_refused_without_showing_them() -> None:
    environ = {"OH_WEBHOOKS_0_BASE_URL": "http://a", "OH_WEBHOOKS_0_HEADERS": "X-Key: planted"}
    with pytest.raises(ConfigError) as error:
        ApiSettings.from_environ(environ)
    assert "headers" in str(error.value) and "planted" not in str(error.value)
