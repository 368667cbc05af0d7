from trunkline_api.headers import by_name


def test_a_header_is_found_by_its_name() -> None:
    assert by_name([(b"a", b"1"), (b"b", b"2")]) == {b"a": b"1", b"b": b"2"}
    assert by_name([]) == {}


def test_a_header_that_was_sent_more_than_once_is_one_list_in_order() -> None:
    assert by_name([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]) == {b"a": b"1, 3", b"b": b"2"}
