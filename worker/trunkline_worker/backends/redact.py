"""What an upstream says, made fit for a caller: no keys, no addresses, no tracebacks. Pure."""

import re
from collections.abc import Sequence
from typing import Any, Final

_MAX_CHARS: Final = 1000
_LOOKED_AT: Final = 4 * _MAX_CHARS  # the expressions take the square of that, at worst
_KEY: Final = re.compile(
    r"\b(?:AIza|(?:sk|pk|rk|gsk|csk|xai|hf|r8|nvapi|tgp|pplx|fw)[-_])(?=[\w*.-]*[\d*])[\w*-]{6,}"
    r"|(?<!\S)\S*?\*{3,}\S*"
    r"|\bBearer\s+\S+"
)
_URL: Final = re.compile(r"\bhttps?://[^\s\"'<>)]+")
_PRIVATE_URL: Final = re.compile(r"https?://(?:[\d.]+|\[|localhost|[\w-]+(?=[:/]|$)|[^/]*\.local)")
_ADDRESS: Final = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b")


def redacted(said: Any, secrets: Sequence[str]) -> str:
    """`said` without `secrets`, and without what looks like a key or an address; "" if it is no
    text that a caller should read."""
    if not isinstance(said, str) or "Traceback (most recent call last)" in said:
        return ""
    text: str = said
    for secret in secrets:
        text = text.replace(secret, "[hidden]")
    text = text[:_LOOKED_AT]
    text = _URL.sub(lambda url: _public(url[0]), text)
    text = _ADDRESS.sub("[address]", _KEY.sub("[hidden]", text))
    return text if len(text) <= _MAX_CHARS else text[:_MAX_CHARS] + "..."


def _public(url: str) -> str:
    return "[address]" if "[hidden]" in url or _PRIVATE_URL.match(url) else url
