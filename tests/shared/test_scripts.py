import re

import pytest

from trunkline_shared.keys import Keys
from trunkline_shared.scripts import Scripts
from trunkline_shared.settings import CommonSettings

TEXTS = Scripts.build(Keys("mine"), CommonSettings()).texts


@pytest.mark.parametrize("name", TEXTS)
def test_a_script_carries_nothing_that_it_does_not_use(name: str) -> None:
    text = TEXTS[name].decode()
    defined = re.findall(r"^local (?:function )?(\w+)", text, re.MULTILINE)
    assert [each for each in defined if len(re.findall(rf"\b{each}\b", text)) < 2] == []
    assert "--" not in text


@pytest.mark.parametrize("name", TEXTS)
def test_stems_and_constants_are_written_in_as_literals(name: str) -> None:
    text = TEXTS[name].decode()
    assert not re.search(r"\b[KCS]\.", text)
    assert "'mine:" in text


def test_a_script_is_known_by_what_it_says() -> None:
    again = Scripts.build(Keys("mine"), CommonSettings())
    other = Scripts.build(Keys("other"), CommonSettings())
    assert again.shas["append"] != other.shas["append"]
    assert again.call("append", "a") == ("EVALSHA", again.shas["append"], 0, "a")
