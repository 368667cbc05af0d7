import pytest

from trunkline_shared.vault import Unreadable, Vault

VALUE = b'{"api_key": "sk-planted"}'


def test_what_is_sealed_cannot_be_read_and_opens_again() -> None:
    sealed = Vault("any text at all").seal(VALUE)
    assert b"planted" not in sealed
    assert Vault.is_token(sealed)
    assert Vault("any text at all").open(sealed) == VALUE


def test_the_same_value_is_sealed_differently_every_time() -> None:
    vault = Vault("secret")
    assert vault.seal(VALUE) != vault.seal(VALUE)


def test_after_a_rotation_old_values_open_and_new_ones_need_the_new_key() -> None:
    old, rotated = Vault("old"), Vault("new", ["old"])
    assert rotated.open(old.seal(VALUE)) == VALUE
    with pytest.raises(Unreadable, match="TRUNKLINE_SECRET_KEY is not the key"):
        old.open(rotated.seal(VALUE))


def test_without_a_key_content_is_kept_as_it_is() -> None:
    vault = Vault(None)
    assert not vault.has_key
    assert vault.open(vault.seal(VALUE)) == VALUE
    with pytest.raises(Unreadable, match="no secret key here"):
        vault.open(Vault("secret").seal(VALUE))


def test_with_previous_keys_alone_values_open_and_nothing_new_is_sealed_with_them() -> None:
    vault = Vault(None, ["old"])
    assert not vault.has_key
    assert vault.open(Vault("old").seal(VALUE)) == VALUE
    assert vault.seal(VALUE) == VALUE


def test_a_damaged_value_is_unreadable() -> None:
    vault = Vault("secret")
    with pytest.raises(Unreadable):
        vault.open(vault.seal(VALUE)[:-4] + b"AAA=")


def test_what_is_sealed_for_somebody_is_the_same_text_again_and_opens_for_nobody_else() -> None:
    vault = Vault("key")
    sealed = vault.seal_for("ana", b"value")
    assert sealed == Vault("key").seal_for("ana", b"value") != vault.seal_for("bob", b"value")
    assert Vault("new", ["key"]).open_for("ana", sealed) == b"value"
    changed = ("A" if sealed[0] != "A" else "B") + sealed[1:]
    for owner, found in (("bob", sealed), ("ana", changed), ("ana", ""), ("ana", "\u00e4")):
        with pytest.raises(Unreadable):
            vault.open_for(owner, found)
    with pytest.raises(Unreadable):
        Vault(None).open_for("ana", sealed)
