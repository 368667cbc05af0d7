import logging

import pytest

from trunkline_api.api import vault_of
from trunkline_api.settings import ApiSettings


@pytest.mark.parametrize(("secret_key", "warned"), [(None, True), ("any text", False)])
def test_who_stores_in_clear_is_warned(
    secret_key: str | None, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    vault = vault_of(ApiSettings(secret_key=secret_key))
    assert vault.has_key is not warned
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * warned
    assert ("TRUNKLINE_SECRET_KEY is not set" in caplog.text) is warned
