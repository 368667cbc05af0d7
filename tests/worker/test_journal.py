import pytest

from trunkline_worker.journal import FULL, Journal


def test_what_has_room_is_admitted_up_to_the_last_byte() -> None:
    journal = Journal(10)
    assert [journal.admit(b"12345"), journal.admit(b"67890")] == [b"12345", b"67890"]
    assert not journal.full


def test_that_it_is_full_is_recorded_once_and_then_nothing() -> None:
    journal = Journal(10)
    told = [journal.admit(entry) for entry in (b"12345", b"678901", b"1", b"2")]
    assert told == [b"12345", FULL, None, None]
    assert journal.full


def test_entries_of_earlier_attempts_take_their_room() -> None:
    journal = Journal(10)
    assert journal.read([b"1234", b"5678"]) == [b"1234", b"5678"]
    assert journal.admit(b"9") == b"9"
    assert journal.admit(b"10") == FULL


def test_an_entry_that_would_say_full_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        Journal(10).admit(b"")
