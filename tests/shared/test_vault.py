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


@pytest.mark.parametrize("secret_key", ["secret", None])
@pytest.mark.parametrize("size", [0, 255, 256, 3000, 64 * 1024 - 1, 64 * 1024])
def test_what_is_packed_is_smaller_and_opens_again(secret_key: str | None, size: int) -> None:
    vault, value = Vault(secret_key), b'{"text": "' + b"word " * (size // 5)
    packed = vault.pack(value)
    assert vault.unpack(packed) == value
    assert (len(packed) < len(value) / 2) == (256 <= len(value) < 64 * 1024)


def test_what_was_sealed_as_it_was_unpacks_too() -> None:
    for vault in (Vault("secret"), Vault(None)):
        assert vault.unpack(vault.seal(VALUE * 100)) == VALUE * 100


@pytest.mark.parametrize("vault", [Vault("secret"), Vault(None)])
def test_what_was_packed_and_is_damaged_is_unreadable(vault: Vault) -> None:
    damaged = vault.seal(b"xai-key") if vault.has_key else vault.pack(VALUE * 100)[:-9]
    with pytest.raises(Unreadable, match="damaged"):
        vault.unpack(damaged)


def test_a_mark_says_nothing_and_is_the_same_every_time() -> None:
    (mark,) = Vault("secret").marks(VALUE)
    assert [mark] == Vault("secret").marks(VALUE) and len(mark) == 32
    assert mark not in (*Vault("other").marks(VALUE), *Vault(None).marks(VALUE))
    assert [mark] != Vault("secret").marks(VALUE + b" ")


def test_after_a_rotation_what_the_old_key_marked_is_found_too() -> None:
    old, new = Vault("old").marks(VALUE), Vault("new").marks(VALUE)
    assert Vault("new", ["old"]).marks(VALUE) == [*new, *old]
    assert Vault(None, ["old"]).marks(VALUE) == [*Vault(None).marks(VALUE), *old]
