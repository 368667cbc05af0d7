"""What upstreams say, on its way to callers."""

import time

import pytest

from trunkline_worker.backends.redact import redacted


@pytest.mark.parametrize("text", ["a" * 10**6, "sk-" * 10**6, "**" * 10**5 + "a", "1.1.1." * 10**5])
def test_long_texts_are_looked_at_in_no_time(text: str) -> None:
    began = time.monotonic()
    assert len(redacted(text, ["secret"])) < 1100
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Incorrect API key: sk-ab1****cd2. Go on.", "Incorrect API key: [hidden]. Go on."),
        ("key=ab****cd and **Note**: 2 ** 3", "[hidden] and **Note**: 2 ** 3"),
        ("x" * 900 + " sk-" + "1" * 300, "x" * 900 + " [hidden]"),
    ],
)
def test_keys_are_hidden(said: str, shown: str) -> None:
    assert redacted(said, ["secret"]) == shown
