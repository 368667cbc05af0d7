from typing import Any

import pytest

from trunkline_api.render.conversation_items import Place, items_of, place_of, without
from trunkline_api.render.response import item_id
from trunkline_shared.conversation import Turn
from trunkline_shared.output_items import OutputItem

RUN = f"a{7:027x}"  # the same in every process that collects these tests


def says(role: str, text: str) -> Any:
    return {"type": "message", "role": role, "content": [{"type": "text", "text": text}]}


def calls(call_id: str, **more: Any) -> Any:
    call = {"type": "tool_call", "id": call_id, "name": "f", "arguments": "{}"}
    return {**call, "kind": "function", **more}


def result(call_id: str, **more: Any) -> Any:
    return {"type": "tool_result", "id": call_id, "content": [], **more}


def ids(turn: Turn) -> list[str]:
    return [value["id"] for _, value in items_of(turn)]


def test_ids_tell_the_turn_and_the_place_and_are_read_back() -> None:
    said = [says("assistant", "I call."), calls("c")]
    turn = Turn(RUN, items=[says("user", "go")], said=said, said_at=[2, 0])
    assert ids(turn) == [f"msg_{RUN}_in0", f"fc_{RUN}_0", f"msg_{RUN}_2"]
    for place, value in items_of(turn):
        assert place_of(value["id"]) == (RUN, place)


@pytest.mark.parametrize(
    "text", ["", "msg_x", f"msg_{RUN}", f"{RUN}_0", f"msg_{RUN}_-1", f"msg_{RUN}_in", f"x{RUN}_0 "]
)
def test_other_ids_are_no_place(text: str) -> None:
    assert place_of(text) is None


def test_a_turn_that_failed_has_no_items() -> None:
    assert items_of(Turn(RUN, items=[says("user", "go")], outcome="cancelled")) == []


def test_what_its_sender_gave_an_id_has_one_of_the_turn() -> None:
    value = {"type": "local_shell_call", "id": "lsh_1"}
    opaque: Any = {"type": "opaque", "origin": "responses", "value": value}
    assert ids(Turn(RUN, items=[opaque, opaque])) == [f"item_{RUN}_in0", f"item_{RUN}_in1"]
    assert value["id"] == "lsh_1"


def test_a_compaction_has_the_id_that_it_had_in_the_response() -> None:
    value = {"type": "compaction", "encrypted_content": "sealed"}
    opaque: Any = {"type": "opaque", "origin": "responses", "value": value}
    turn = Turn(RUN, items=[opaque], said=[opaque])
    assert ids(turn) == [f"item_{RUN}_in0", item_id(RUN, 0, OutputItem("compaction"))]


def test_others_keep_their_ids_when_one_is_deleted() -> None:
    turn = Turn(RUN, items=[says("user", text) for text in "abc"])
    left = without(turn, Place(False, 1))
    assert ids(left) == [f"msg_{RUN}_in0", f"msg_{RUN}_in2"]
    last = without(without(left, Place(False, 0)), Place(False, 2))
    assert ids(last) == [] and last.items_at == []


@pytest.mark.parametrize("is_said", [True, False])
def test_an_activity_is_one_item_and_leaves_with_its_result(is_said: bool) -> None:
    activity = [calls("a", toolset="files"), result("a", toolset="files", is_error=True)]
    if is_said:
        turn = Turn(RUN, said=[*activity, says("assistant", "Done.")], said_at=[0, 0, 1])
    else:
        turn = Turn(RUN, items=[*activity, says("user", "go")])
    [(place, value), (_, rest)] = items_of(turn)
    assert value["error"]["type"] == "mcp_tool_execution_error"
    left = without(turn, place)
    assert [told for _, told in items_of(left)] == [rest]
    assert len(left.items) + len(left.said) == 1


def test_the_result_of_a_custom_tool_is_one_without_its_call() -> None:
    [(_, value)] = items_of(Turn(RUN, items=[result("c", kind="custom")]))
    assert value["type"] == "custom_tool_call_output"
