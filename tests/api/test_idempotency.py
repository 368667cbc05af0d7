import pytest

from trunkline_api.errors import ApiError
from trunkline_api.idempotency import IdempotencyKey, Known, key_of, known_as

KEY = b"idempotency-key"
SHOWN = b"x-trunkline-events"


def key(
    value: bytes = b"k",
    *,
    path: str = "/v1/responses",
    body: bytes = b"{}",
    principal: str = "ana",
    conversation: str = "",
    shown: bytes = b"",
) -> IdempotencyKey:
    headers = {KEY: value, SHOWN: shown}
    found = key_of(headers, path, body, principal, conversation)
    assert found is not None
    return found


def test_a_request_without_the_header_has_no_key() -> None:
    assert key_of({}, "/v1/responses", b"{}", "ana", "") is None


@pytest.mark.parametrize("value", [b"k", b"k" * 255, b" a key ", b"~!\"'{}"])
def test_a_key_is_printable_and_not_too_long(value: bytes) -> None:
    assert key(value) == key(value)


@pytest.mark.parametrize("value", [b"", b"k" * 256, b"k\x7f", b"k\tk", "é".encode(), b"\xe9"])
def test_what_is_no_key_is_refused_by_its_name(value: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        key(value)
    assert (caught.value.status, caught.value.param) == (400, "Idempotency-Key")


def test_a_name_is_the_keys_and_the_principals_and_tells_neither_key_nor_body() -> None:
    names = {key().name, key(b"K").name, key(principal="bob").name}
    assert len(names) == 3
    assert key(b"secret-key", body=b"secret").name[:4] == "ana:"
    assert "secret" not in "".join(key(b"secret-key", body=b"secret"))


def test_a_digest_tells_apart_what_runs_differently() -> None:
    others = [
        key(body=b"{ }"),
        key(path="/v1/chat/completions"),
        key(conversation="c"),
        key(shown=b"tools"),
    ]
    digests = {key().digest, *(each.digest for each in others)}
    assert len(digests) == 5
    assert key(shown=b"tools").digest == key(shown=b" Tools,").digest
    assert key(principal="bob").digest == key().digest


@pytest.mark.parametrize(("stored", "conversation"), [(b"r d ", ""), (b"r d c", "c")])
def test_what_is_known_is_the_run_and_its_conversation(stored: bytes, conversation: str) -> None:
    assert known_as(stored) == Known("r", conversation)
