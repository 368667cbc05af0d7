from pathlib import Path

import pytest

from trunkline_api.auth import ANONYMOUS, ApiKeys, Principal
from trunkline_api.errors import ApiError
from trunkline_api.settings import ApiSettings
from trunkline_shared.errors import ConfigError


def keys(*given: str, file: str | None = None) -> ApiKeys:
    return ApiKeys.from_settings(ApiSettings(api_key=given, api_key_file=file))


def key_file(directory: Path, text: str) -> str:
    path = directory / "keys"
    path.write_text(text, "utf-8")
    return str(path)


async def test_without_any_key_everybody_is_anonymous_whatever_they_send() -> None:
    assert not keys()
    assert await keys().authenticate({}) == ANONYMOUS
    assert await keys().authenticate({b"authorization": b"Bearer whatever"}) == ANONYMOUS


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer two"),
        (b"authorization", b"bearer  two "),
        (b"authorization", b"BEARER two"),
        (b"x-session-api-key", b"two"),
        (b"x-session-api-key", b" two "),
    ],
)
async def test_a_key_opens_by_either_header(header: tuple[bytes, bytes]) -> None:
    assert await keys("one", "two").authenticate(dict([header])) == Principal("key-2")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b""},
        {b"authorization": b"Bearer"},
        {b"authorization": b"Bearer "},
        {b"authorization": b"one"},
        {b"authorization": b"Basic one"},
        {b"x-session-api-key": b""},
    ],
)
async def test_no_key_is_401_that_says_how_to_send_one(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(ApiError, match="did not provide") as caught:
        await keys("one").authenticate(headers)
    assert caught.value.status == 401
    assert caught.value.code == "invalid_api_key"
    assert caught.value.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("wrong", [b"on", b"onee", b"ONE", b"\xff\xfe", b"one two", b"x" * 9000])
async def test_a_wrong_key_is_401_and_is_not_repeated(wrong: bytes) -> None:
    with pytest.raises(ApiError, match="Incorrect") as caught:
        await keys("one").authenticate({b"authorization": b"Bearer " + wrong})
    assert wrong.decode("latin-1") not in caught.value.message.split()


async def test_one_good_key_is_enough_among_several_headers() -> None:
    headers = {b"authorization": b"Bearer placeholder", b"x-session-api-key": b"one"}
    assert await keys("one").authenticate(headers) == Principal("key-1")


async def test_a_key_file_names_its_principals(tmp_path: Path) -> None:
    path = key_file(tmp_path, "# ours\n\nada:k1\n bob : k2:with:colons \nk3\nada:k4\n")
    known = keys("zero", file=path)
    names = [
        (await known.authenticate({b"x-session-api-key": key})).name
        for key in (b"zero", b"k1", b"k2:with:colons", b"k3", b"k4")
    ]
    assert names == ["key-1", "ada", "bob", "key-4", "ada"]


async def test_a_key_beyond_ascii_works() -> None:
    header = (b"x-session-api-key", "schlüssel".encode())
    assert await keys("schlüssel").authenticate(dict([header])) == Principal("key-1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no key in it"),
        ("# nothing\n", "no key in it"),
        ("ada:\n", "keys:1: expected"),
        ("good\n:k\n", "keys:2: expected"),
        ("ada:secret1\nbob:secret1\n", "twice"),
    ],
)
def test_a_bad_key_file_is_refused_without_showing_a_key(
    tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        keys(file=key_file(tmp_path, text))
    assert "secret1" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        keys(file=str(tmp_path / "absent"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        keys(file=str(tmp_path / "binary"))


def test_the_same_key_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="twice"):
        keys("same", "same")


def test_keys_are_not_kept_in_clear() -> None:
    assert "sk-secret" not in repr(keys("sk-secret"))
