import logging
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trunkline.secret_key import keep_key, kept_key
from trunkline_shared.errors import StartError


def test_a_key_is_made_once_and_is_nobody_elses_to_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    data = tmp_path / "state" / "data"
    assert kept_key(data) is None
    key = keep_key(data)
    assert len(key) >= 43
    assert keep_key(data) == kept_key(data) == key
    assert os.listdir(data) == ["secret.key"]
    assert stat.S_IMODE((data / "secret.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    (told,) = caplog.messages
    assert str(data / "secret.key") in told
    assert key not in told


def test_all_who_start_at_once_get_the_same_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(keep_key, [tmp_path] * 64))) == 1


def test_a_key_of_the_operators_own_is_taken_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, b"any text at all\n")
    assert keep_key(tmp_path) == "any text at all"


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (b"key", 0o640, r"others can read .*secret\.key \(mode 640\): chmod 600 it"),
        (b"key", 0o604, r"mode 604"),
        (b" \n", 0o600, r"secret\.key is empty: put the key back, or remove the file"),
        (b"\xff\xfe", 0o600, r"secret\.key is not text"),
    ],
)
def test_a_file_that_is_no_good_is_refused_in_one_line(
    tmp_path: Path, content: bytes, mode: int, why: str
) -> None:
    write(tmp_path, content, mode)
    with pytest.raises(StartError, match=why) as refused:
        keep_key(tmp_path)
    assert "\n" not in str(refused.value)
    assert (tmp_path / "secret.key").read_bytes() == content


def test_a_directory_that_cannot_be_made_is_refused_with_the_ways_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="--data-dir, or set TRUNKLINE_SECRET_KEY"):
        keep_key(tmp_path / "file" / "data")


def write(data: Path, content: bytes, mode: int = 0o600) -> None:
    (data / "secret.key").write_bytes(content)
    (data / "secret.key").chmod(mode)
