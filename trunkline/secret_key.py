"""The secret key that `serve` makes for itself where none is configured."""

import contextlib
import logging
import os
import secrets
import stat
import tempfile
from pathlib import Path

from trunkline_shared.errors import StartError

logger = logging.getLogger(__name__)


def kept_key(data_path: Path) -> str | None:
    """The key in `secret.key` of the data directory; None if it has no such file.

    Raises StartError, one line, for a file that is empty, or that others can read.
    """
    path = _file(data_path)
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise StartError(f"others can read {path} (mode {mode:o}): chmod 600 it")
            key = file.read().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StartError(f"cannot read {path}: {error.strerror}; mend that") from error
    except UnicodeDecodeError as error:
        raise StartError(f"{path} is not text: put the key back, or remove the file") from error
    if not key:
        # A new one would leave what was sealed with the lost one unreadable, without a word.
        raise StartError(f"{path} is empty: put the key back, or remove the file")
    return key


def keep_key(data_path: Path) -> str:
    """The key in `secret.key` of the data directory, made there if it has none.

    Whoever does that at the same time gets the same key. Raises StartError as `kept_key` does.
    """
    path = _file(data_path)
    while (key := kept_key(data_path)) is None:
        try:
            data_path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make(path)
            logger.info("made %s, which opens what is stored here: keep it with the data", path)
        except OSError as error:
            fix = "give another --data-dir, or set TRUNKLINE_SECRET_KEY"
            raise StartError(f"cannot keep a key in {path}: {error.strerror}; {fix}") from error
    return key


def _file(data_path: Path) -> Path:
    return data_path / "secret.key"


def _make(path: Path) -> None:
    # Written whole under another name first: nobody ever finds it empty, and the first one wins.
    file, draft = tempfile.mkstemp(prefix="secret.key.", dir=path.parent)  # mode 0600
    try:
        with open(file, "w", encoding="utf-8") as output:
            output.write(f"{secrets.token_urlsafe(32)}\n")
            output.flush()
            os.fsync(output.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
