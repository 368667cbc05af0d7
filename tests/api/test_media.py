"""Images, files and sounds are handed on if they are what they say, and refused by name if not."""

from typing import Any

import pytest

from tests.api.chat_bodies import body as chat_body
from tests.api.responses_bodies import body as responses_body
from trunkline_api.errors import ApiError
from trunkline_api.wire.chat import parse_chat
from trunkline_api.wire.responses import parse_responses

IMAGES = [
    "https://a.example/b.png?x=1#y",
    "http://127.0.0.1:9000/b",
    "data:image/png;base64,iVBORw0KGgo=",
    "data:image/JPEG;base64,AAAA",
    "data:image/svg+xml;name=a;base64,AAAA",
]
NO_IMAGES = [
    "",
    "x",
    "file:///etc/passwd",
    "ftp://a.example/b.png",
    "gopher://a",
    "https://",
    "https://[::1",
    "https://a.example/b c.png",
    "https://a.example/" + "x" * 9000,
    "data:image/png,AAAA",
    "data:image/png;base64,",
    "data:image/png;base64,===",
    "data:image/png;base64,A A A A",
    "data:image/png;base64,é",
    "data:text/html;base64,AAAA",
    "data:;base64,AAAA",
]


def chat(part: Any, role: str = "user") -> str | None:
    asked: list[Any] = [{"role": "user", "content": "x"}, {"role": role, "content": [part]}]
    return refused(lambda: parse_chat(chat_body(messages=asked)))


def responses(part: Any) -> str | None:
    asked = [{"role": "user", "content": [part]}]
    return refused(lambda: parse_responses(responses_body(input=asked)))


def refused(parse: Any) -> str | None:
    try:
        parse()
    except ApiError as error:
        assert error.status == 400 and len(error.message) < 300
        return error.param
    return None


@pytest.mark.parametrize("url", IMAGES[:4])
def test_images_are_taken_by_url_or_as_data(url: str) -> None:
    assert chat({"type": "image_url", "image_url": {"url": url}}) is None
    assert responses({"type": "input_image", "image_url": url}) is None


@pytest.mark.parametrize("url", [*NO_IMAGES, IMAGES[4]])
def test_what_is_no_image_is_named(url: str) -> None:
    where = "messages[1].content[0].image_url.url"
    assert chat({"type": "image_url", "image_url": {"url": url}}) == where
    assert responses({"type": "input_image", "image_url": url}) == "input[0].content[0].image_url"


@pytest.mark.parametrize(
    "data", ["AAAA", "data:application/pdf;base64,AAA=", "data:text/x-c;base64,AA"]
)
def test_files_are_taken_as_data(data: str) -> None:
    assert chat({"type": "file", "file": {"file_data": data, "filename": "a"}}) is None
    assert responses({"type": "input_file", "file_data": data}) is None


@pytest.mark.parametrize("data", ["", "http://a.example/b", "data:application/pdf,AAAA", "A-_A"])
def test_what_is_no_file_is_named(data: str) -> None:
    where = "messages[1].content[0].file.file_data"
    assert chat({"type": "file", "file": {"file_data": data}}) == where
    assert responses({"type": "input_file", "file_data": data}) == "input[0].content[0].file_data"


def test_files_are_not_kept_so_none_has_an_id() -> None:
    assert chat({"type": "file", "file": {"file_id": "f"}}) == "messages[1].content[0].file.file_id"
    assert responses({"type": "input_file", "file_id": "f"}) == "input[0].content[0].file_id"
    assert responses({"type": "input_image", "file_id": "f"}) == "input[0].content[0].file_id"


@pytest.mark.parametrize(("data", "ok"), [("AAAA", True), ("", False), ("data:x", False)])
def test_sounds_are_base64(data: str, ok: bool) -> None:
    audio = {"data": data, "format": "wav"}
    where = "content[0].input_audio.data"
    part = {"type": "input_audio", "input_audio": audio}
    assert chat(part) == (None if ok else f"messages[1].{where}")
    assert responses(part) == (None if ok else f"input[0].{where}")


def test_of_a_long_image_the_ends_are_looked_at() -> None:
    head, data = "data:image/png;base64,", "A" * 5_000_000
    assert responses({"type": "input_image", "image_url": head + data + "=="}) is None
    for wrong in (f"{head}-{data}", f"{head}{data}-", f"{head}{data}==="):
        assert responses({"type": "input_image", "image_url": wrong}) is not None
