"""API keys: who may come in, and under which name."""

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

from trunkline_api.errors import ApiError
from trunkline_api.settings import ApiSettings
from trunkline_shared.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a key stands for; logs and limits know only this name.

    `models` are patterns of the models it may use. An `admin` manages what all share.
    `max_concurrent` None leaves that to the deployment.
    """

    name: str
    models: tuple[str, ...] = ("*",)
    max_concurrent: int | None = None
    admin: bool = True

    def may_use(self, model: str) -> bool:
        return any(fnmatchcase(model, pattern) for pattern in self.models)


ANONYMOUS = Principal("anonymous")
SESSION = Principal("session")


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """All keys of a deployment, kept as digests only."""

    known: tuple[tuple[bytes, Principal], ...] = ()

    @classmethod
    def from_settings(cls, settings: ApiSettings) -> Self:
        """Raises ConfigError, which never shows a key, when the key file is no good."""
        named = list(_with_names(settings.api_key, settings.api_key_file))
        digests = [_digest(key.encode()) for _, key in named]
        if len(set(digests)) < len(digests):
            raise ConfigError("the same API key is given twice; a key stands for one principal")
        principals = (Principal(name) for name, _ in named)
        known = list(zip(digests, principals, strict=True))
        session = ((_digest(key.encode()), SESSION) for key in settings.session_api_key)
        return cls((*known, *(each for each in session if each[0] not in digests)))

    def __bool__(self) -> bool:
        return bool(self.known)

    async def authenticate(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal:
        """The principal of a request; `anonymous` where no key is configured. Raises 401."""
        if not self.known:
            return ANONYMOUS
        presented = list(_presented(headers))
        found: Principal | None = None
        for key in presented:
            digest = _digest(key)
            # All are compared, whichever fits, so that time says nothing about the keys.
            for known, principal in self.known:
                if hmac.compare_digest(known, digest):
                    found = principal
        if found is None:
            raise _unauthorized(missing=not presented)
        return found


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _presented(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    for name, value in headers:
        if name == b"authorization":
            scheme, _, key = value.strip().partition(b" ")
            if scheme.lower() == b"bearer" and key.strip():
                yield key.strip()
        elif name == b"x-session-api-key" and value.strip():
            yield value.strip()


def _unauthorized(*, missing: bool) -> ApiError:
    message = (
        "You did not provide an API key. Send it as 'Authorization: Bearer KEY'."
        if missing
        else "Incorrect API key provided."
    )
    challenge = {"www-authenticate": "Bearer"}
    return ApiError(
        401, message, code="invalid_api_key", extra_headers=challenge, detail="Unauthorized"
    )


def _with_names(keys: tuple[str, ...], path: str | None) -> Iterator[tuple[str, str]]:
    for number, key in enumerate(keys, start=1):
        yield f"key-{number}", key
    if path is None:
        return
    rows = list(_key_file(path))
    if not rows:
        # An empty file would open the door to everyone, which nobody means by naming one.
        raise ConfigError(f"--api-key-file {path}: no key in it; write one a line, `name:key`")
    for number, (name, key) in enumerate(rows, start=len(keys) + 1):
        yield name or f"key-{number}", key


def _key_file(path: str) -> Iterator[tuple[str | None, str]]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"--api-key-file {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--api-key-file {path}: not UTF-8 text") from error
    for number, raw in enumerate(lines, start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        name, colon, key = (part.strip() for part in line.partition(":"))
        if not colon:
            name, key = "", name
        if not key or (colon and not name):
            raise ConfigError(f"--api-key-file {path}:{number}: expected `name:key` or `key`")
        yield name or None, key
