"""What is stored is sealed: encrypted with a key that Redis never sees.

A sealed value is a Fernet token (AES-128-CBC and HMAC-SHA256, the `cryptography` package). The
Fernet key is HKDF-SHA256 of the deployment's secret key, which may be any text. What others keep
for us is sealed with AES-SIV and a key of its own: the same value always gives the same text.
"""

import base64
import hashlib
import hmac
import zlib
from collections.abc import Sequence
from contextlib import suppress

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from trunkline_shared.errors import TrunklineError

_INFO = b"trunkline vault 1"
_INFO_FOR = b"trunkline vault for others 1"
_MARKS_INFO = b"trunkline marks 1"
_MARK_LENGTH = 32  # hex digits
_DEFLATED = b"x"  # what zlib's output begins with; no JSON does
_PACKED = range(256, 64 * 1024)  # bytes: less gains nothing, more takes long and could swell
_TOKEN = b"gAAAA"  # what every Fernet token of this century begins with; no JSON does


class Unreadable(TrunklineError):
    """A sealed value was sealed with a secret key that this process does not have."""


class Vault:
    """Seals with `secret_key`; opens also what was sealed with one of `previous`.

    Without a key, content is kept as it is; whoever stores a secret asks `has_key` first.
    """

    def __init__(self, secret_key: str | None, previous: Sequence[str] = ()) -> None:
        known = [key for key in (secret_key, *previous) if key]
        keys = [_fernet(key) for key in known]
        self._siv = [AESSIV(_derived(key, _INFO_FOR, 64)) for key in known]
        self.has_key = bool(secret_key)
        self._fernet = MultiFernet(keys) if keys else None
        self._mark_keys = [_derived(key, _MARKS_INFO) for key in (secret_key or "", *previous)]

    def seal(self, value: bytes) -> bytes:
        """A token; without a key the value itself, which must then be JSON."""
        if not self.has_key or self._fernet is None:
            return value
        return self._fernet.encrypt(value)

    def pack(self, value: bytes) -> bytes:
        """As `seal`, of JSON that is compressed where that makes it smaller."""
        return self.seal(zlib.compress(value) if len(value) in _PACKED else value)

    def marks(self, value: bytes) -> list[str]:
        """What a value may be found by without being told: a mark for each key, the present one's
        first. Without a key anybody can guess and compare."""
        marks = (hmac.digest(key, value, hashlib.sha256).hex() for key in self._mark_keys)
        return [mark[:_MARK_LENGTH] for mark in marks]

    def open(self, sealed: bytes) -> bytes:
        """What was sealed. Raises Unreadable."""
        if not self.is_token(sealed):
            return sealed
        if self._fernet is None:
            raise Unreadable("there is no secret key here; set TRUNKLINE_SECRET_KEY")
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            raise Unreadable("TRUNKLINE_SECRET_KEY is not the key it was sealed with") from None

    def seal_for(self, owner: str, value: bytes) -> str:
        """What only `open_for` with the same owner opens, as URL-safe text. Needs a key."""
        sealed = self._siv[0].encrypt(value, [owner.encode()])
        return base64.urlsafe_b64encode(sealed).decode()

    def open_for(self, owner: str, sealed: str) -> bytes:
        """What was sealed for `owner`, and by nobody else. Raises Unreadable."""
        try:
            data = base64.b64decode(sealed, altchars=b"-_", validate=True)
        except ValueError:
            data = b""
        for siv in self._siv:
            with suppress(InvalidTag):
                return siv.decrypt(data, [owner.encode()])
        raise Unreadable("nothing that was sealed here for this owner")

    def unpack(self, packed: bytes) -> bytes:
        """What was packed, or sealed as it was. Raises Unreadable."""
        value = self.open(packed)
        try:
            return zlib.decompress(value) if value.startswith(_DEFLATED) else value
        except zlib.error:
            raise Unreadable("a stored value is damaged") from None

    @staticmethod
    def is_token(value: bytes) -> bool:
        """Whether the value looks like a sealed one."""
        return value.startswith(_TOKEN)


def _fernet(secret_key: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(_derived(secret_key, _INFO)))


def _derived(secret_key: str, info: bytes, length: int = 32) -> bytes:
    kdf = HKDF(algorithm=SHA256(), length=length, salt=None, info=info)
    return kdf.derive(secret_key.encode())
