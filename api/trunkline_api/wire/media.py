"""Images, files and sounds of a request: handed on as they are, so they have to be what they say.

The server fetches nothing that a caller names.
"""

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator

_LONGEST_URL: Final = 8192
_LOOKED_AT: Final = 4096
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_IMAGE: Final = re.compile(r"image/(png|jpe?g|gif|webp|bmp|tiff|hei[cf]|avif)", re.IGNORECASE)
_FILE: Final = re.compile(r"(application|text|image|audio)/[\w.+-]{1,100}", re.IGNORECASE)


def _is_base64(data: str, start: int = 0) -> bool:
    """From `start` on. Of much data only the ends are looked at: others' streams wait meanwhile."""
    if len(data) - start <= 2 * _LOOKED_AT:
        return _BASE64.fullmatch(data, start) is not None
    end = len(data) - _LOOKED_AT
    head = _BASE64.fullmatch(data, start, start + _LOOKED_AT)
    return head is not None and _BASE64.fullmatch(data, end) is not None


def _is_data_url(url: str, kinds: re.Pattern[str]) -> bool:
    comma = url.find(",", 0, _LOOKED_AT)
    kind, *parameters = url[len("data:") : max(comma, 0)].split(";")
    is_known = kinds.fullmatch(kind) is not None and parameters[-1:] == ["base64"]
    return is_known and _is_base64(url, comma + 1)


def _is_http_url(url: str) -> bool:
    if len(url) > _LONGEST_URL or re.search(r"[\s\x00-\x1f\x7f]", url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _image(url: str) -> str:
    if _is_data_url(url, _IMAGE) if url[:5] == "data:" else _is_http_url(url):
        return url
    raise ValueError("an http(s) URL, or an image as data:image/png;base64,… (or another type)")


def _file(data: str) -> str:
    if not data or (_is_data_url(data, _FILE) if data[:5] == "data:" else _is_base64(data)):
        return data
    raise ValueError("base64, or a file as data:application/pdf;base64,… (or another type)")


def _sound(data: str) -> str:
    if _is_base64(data):
        return data
    raise ValueError("a sound in base64")


ImageAddress = Annotated[str, AfterValidator(_image)]
FileData = Annotated[str, AfterValidator(_file)]
"""May be empty, which is as if it was left out."""
SoundData = Annotated[str, AfterValidator(_sound)]
