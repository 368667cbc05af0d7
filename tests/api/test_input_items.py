from typing import Any

import orjson
import pytest

from tests.api.responses_bodies import body
from trunkline_api.render.input_items import item_values
from trunkline_api.responses_request import input_items
from trunkline_api.wire.responses import parse_responses

INPUT: list[dict[str, Any]] = [
    {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "d"}]},
    {
        "type": "message",
        "role": "user",
        "content": [
            {"type": "input_text", "text": "look"},
            {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"},
            {"type": "input_file", "file_data": "data:text/plain;base64,eA==", "filename": "x"},
            {"type": "input_audio", "input_audio": {"data": "eA==", "format": "wav"}},
        ],
    },
    {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]},
    {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "a"}],
        "phase": "commentary",
    },
    {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "1"},
    {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "ls"},
    {
        "type": "custom_tool_call_output",
        "call_id": "c2",
        "output": [{"type": "input_text", "text": "1"}, {"type": "input_text", "text": "2"}],
    },
    {
        "type": "mcp_call",
        "id": "mcp_1",
        "server_label": "files",
        "name": "look",
        "arguments": "{}",
        "output": "seen",
    },
    {
        "type": "mcp_call",
        "id": "mcp_2",
        "server_label": "files",
        "name": "look",
        "arguments": "{}",
        "error": "broke",
    },
    {"type": "local_shell_call", "id": "lsh_1", "action": {}},
]


def listed(given: Any) -> list[dict[str, Any]]:
    return item_values(input_items(parse_responses(body(input=given))), "run")


def test_items_come_back_as_they_were_sent() -> None:
    for sent, item in zip(INPUT, listed(INPUT), strict=True):
        known = {key: value for key, value in sent.items() if key not in ("content", "id")}
        assert known.items() <= item.items()
        for part, told in zip(sent.get("content", ()), item.get("content", ()), strict=True):
            assert part.items() <= told.items()


def test_every_item_has_an_id_of_its_own_that_stays_the_same() -> None:
    ids = [item["id"] for item in listed(INPUT)]
    assert len(set(ids)) == len(INPUT) and ids == [item["id"] for item in listed(INPUT)]
    assert ids[0] == "msg_run_in0" and ids[-1] == "lsh_1"


def test_what_was_listed_can_be_sent_again() -> None:
    again = listed(listed(INPUT))
    assert again == listed(INPUT)


@pytest.mark.parametrize("text", ["hi", ""])
def test_a_string_is_a_message(text: str) -> None:
    (item,) = listed(text)
    content = [{"type": "input_text", "text": text}]
    expected = {"type": "message", "role": "user", "status": "completed", "content": content}
    assert item == {"id": "msg_run_in0", **expected}


def test_a_result_whose_call_is_in_an_earlier_response_is_a_functions() -> None:
    result: Any = {"type": "tool_result", "id": "c", "content": [{"type": "text", "text": "x"}]}
    (item,) = item_values([result], "run")
    assert (item["type"], item["call_id"], item["output"]) == ("function_call_output", "c", "x")
    assert orjson.dumps(item)


def test_each_has_an_id_of_its_own_whatever_its_sender_called_it() -> None:
    ids = ["x", "x", 5, {"a": 1}, "", None, "msg_run_in0"]
    shells = [{"type": "local_shell_call", "id": given, "action": {}} for given in ids]
    found = [item["id"] for item in listed([*INPUT[:2], *shells])]
    assert all(isinstance(each, str) and each for each in found)
    assert len({*found}) == len(found) and found[2] == "x"
