import base64
import os

import openai
import orjson
import pytest
from openai import InvalidWebhookSignatureError
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from trunkline_api.response_webhooks import ALL_EVENTS, ResponseWebhook
from trunkline_api.settings import ApiSettings
from trunkline_shared.errors import ConfigError

URL = "https://hooks.example/trunkline?code=letter"
BODY = b'{"id":"evt_1","type":"response.completed","data":{"id":"resp_1"}}'


def secret(size: int = 32) -> str:
    return "whsec_" + base64.b64encode(os.urandom(size)).decode()


def settings(*specs: object) -> ApiSettings:
    text = orjson.dumps(specs).decode()
    return ApiSettings.from_environ({"TRUNKLINE_RESPONSE_WEBHOOKS": text})


def test_webhooks_of_responses_are_a_json_list() -> None:
    one, other = settings(
        {"url": URL, "secret": secret()},
        {"url": URL, "secret": [secret(24), secret(64)], "events": ["response.failed"]},
    ).response_webhooks
    assert (one.url, one.events, one.shown_url) == (URL, ALL_EVENTS, URL.partition("?")[0])
    assert (len(one.secret), len(other.secret), other.events) == (1, 2, ("response.failed",))
    assert settings().response_webhooks == ()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"secret": secret()}, r"\[0\].url: Field required"),
        ({"url": "hooks.example", "secret": secret()}, r"\[0\].url: expected a URL"),
        ({"url": "https://me:letter@x", "secret": secret()}, r"\[0\].url: a URL without user"),
        ({"url": "https://x:letter", "secret": secret()}, r"\[0\].url: expected a URL"),
        ({"url": URL}, r"\[0\].secret: Field required"),
        ({"url": URL, "secret": []}, r"\[0\].secret: "),
        ({"url": URL, "secret": "letter"}, r"\[0\].secret\[0\]: expected whsec_"),
        ({"url": URL, "secret": [secret(), "whsec_letter"]}, r"\[0\].secret\[1\]: expected whsec_"),
        ({"url": URL, "secret": secret(16)}, r"\[0\].secret\[0\]: expected whsec_"),
        ({"url": URL, "secret": secret(32).rstrip("=")}, r"\[0\].secret\[0\]: expected whsec_"),
        ({"url": URL, "secret": secret(), "events": ["letter"]}, r"\[0\].events\[0\]: Input"),
        ({"url": URL, "secret": secret(), "events": []}, r"\[0\].events: "),
        ({"url": URL, "secret": secret(), "retries": 3}, r"\[0\].retries: Extra"),
    ],
)
def test_a_mistake_is_named_and_no_secret_shown(spec: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=f"TRUNKLINE_RESPONSE_WEBHOOKS.*{said}") as raised:
        settings(spec)
    assert "letter" not in str(raised.value)
    assert not any(str(raised.value).count(word) for word in _secrets(spec))


def _secrets(spec: dict[str, object]) -> list[str]:
    given = spec.get("secret", [])
    words = [given] if isinstance(given, str) else given
    assert isinstance(words, list)
    return [word[6:] for word in words if len(word) > 12]


def test_secrets_are_shown_nowhere() -> None:
    word = secret()
    read = settings({"url": URL, "secret": word})
    shown = f"{read!r} {read.response_webhooks!r} {read.response_webhooks[0]}"
    assert word not in shown and "code=letter" not in shown


def test_both_libraries_take_the_signature_of_any_of_its_secrets() -> None:
    old, new, foreign = secret(), secret(24), secret()
    headers = ResponseWebhook.model_validate({"url": URL, "secret": [new, old]}).signed(
        "wh_1", BODY
    )
    assert headers["webhook-signature"].count("v1,") == 2
    client = openai.OpenAI(api_key="none")
    for known in (old, new):
        assert Verifier(known).verify(BODY, headers)["id"] == "evt_1"
        event = client.webhooks.unwrap(BODY, headers, secret=known)
        assert event.type == "response.completed" and event.data.id == "resp_1"
    with pytest.raises(WebhookVerificationError):
        Verifier(foreign).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(old).verify(BODY + b" ", headers)
    with pytest.raises(InvalidWebhookSignatureError):
        client.webhooks.unwrap(BODY, {**headers, "webhook-id": "wh_2"}, secret=old)
