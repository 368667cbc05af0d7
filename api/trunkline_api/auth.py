"""API keys: who may come in, and under which name."""

import hmac
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Self

from trunkline_api.errors import ApiError
from trunkline_api.headers import Headers
from trunkline_api.settings import ApiSettings
from trunkline_api.stored_keys import StoredKeys
from trunkline_shared.api_keys import ApiKey, digest
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
        return "*" in self.models or any(fnmatchcase(model, each) for each in self.models)


ANONYMOUS = Principal("anonymous")
SESSION = Principal("session")

_MISSING: Final = "You did not provide an API key. Send it as 'Authorization: Bearer KEY'."
_WRONG: Final = "Incorrect API key provided."
_EXPIRED: Final = "This API key has expired; ask for a new one."


@dataclass(slots=True)
class ApiKeys:
    """All keys of a deployment, as digests only: `known` from the configuration, and `stored`.

    `closed` once there was any stored key: should Redis lose them, the door does not open again
    while this process lives.
    """

    known: tuple[tuple[str, Principal], ...] = ()
    stored: StoredKeys | None = None
    closed: bool = False

    @classmethod
    def from_settings(cls, settings: ApiSettings) -> Self:
        """Raises ConfigError, which never shows a key, when the key file is no good."""
        named = list(_with_names(settings.api_key, settings.api_key_file))
        digests = [digest(key.encode()) for _, key in named]
        if len(set(digests)) < len(digests):
            raise ConfigError("the same API key is given twice; a key stands for one principal")
        principals = (Principal(name) for name, _ in named)
        known = list(zip(digests, principals, strict=True))
        session = ((digest(key.encode()), SESSION) for key in settings.session_api_key)
        return cls((*known, *(each for each in session if each[0] not in digests)))

    def __bool__(self) -> bool:
        return bool(self.known) or self.closed

    async def authenticate(self, headers: Headers) -> Principal:
        """The principal of a request; `anonymous` where there is no key at all.

        Raises ApiError: 401, or 503 when only Redis could tell and does not.
        """
        presented = [digest(key) for key in _presented(headers)]
        found = self._configured(presented)
        if found is None and self.stored is not None and (presented or not self):
            records, exist = await self.stored.find(presented)
            self.closed |= exist
            found = _stored(records, time.time())
        if found is not None:
            return found
        if not self:
            return ANONYMOUS
        raise _unauthorized(_WRONG if presented else _MISSING)

    def _configured(self, presented: Iterable[str]) -> Principal | None:
        found = None
        for each in presented:
            # All are compared, whichever fits, so that time says nothing about the keys.
            for known, principal in self.known:
                if hmac.compare_digest(known, each):
                    found = principal
        return found


def _stored(records: Iterable[ApiKey], now: float) -> Principal | None:
    states = [(record.state(now), record) for record in records]
    for state, record in states:
        if state == "active":
            return Principal(record.name, record.models, record.max_concurrent, record.admin)
    if any(state == "expired" for state, _ in states):
        raise _unauthorized(_EXPIRED)
    return None


def _presented(headers: Headers) -> list[bytes]:
    keys = []
    scheme, _, key = headers.get(b"authorization", b"").strip().partition(b" ")
    if scheme.lower() == b"bearer" and key:
        keys.append(key.strip())
    if key := headers.get(b"x-session-api-key", b"").strip():
        keys.append(key)
    return keys


def _unauthorized(message: str) -> ApiError:
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
