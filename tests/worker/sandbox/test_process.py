"""What a command said, as far as it is kept."""

from trunkline_worker.sandbox.process import Output


def test_whole_output_is_whole_wherever_it_is_divided() -> None:
    said = "a" + "\u00e9" * 40
    output = Output(100)
    for byte in said.encode():
        output.add(bytes([byte]))
    assert output.take() == said


def test_no_character_is_cut_where_something_is_left_out() -> None:
    for ahead in range(4):
        output = Output(100)
        output.add(b"a" * ahead + "\U0001f642".encode() * 100)
        said = output.take()
        assert "\ufffd" not in said
        left_out = int(said.partition("[")[2].split()[0])
        kept = said.replace(f"\n[{left_out} bytes are left out here]\n", "")
        assert len(kept.encode()) + left_out == ahead + 400


def test_a_character_that_is_not_whole_yet_is_kept_for_later() -> None:
    output = Output(100)
    first, second = "\u00e9".encode()[:1], "\u00e9".encode()[1:]
    output.add(b"a" + first)
    assert output.take(last=False) == "a"
    output.add(second)
    assert output.take(last=False) == "\u00e9"
    output.add(first)
    assert output.take() == "\ufffd"
