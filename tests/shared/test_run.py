from typing import Any

import orjson
import pytest

from trunkline_shared.run import (
    RunRequest,
    created_ms,
    decode_job,
    deserialize_job,
    encode_job,
    new_run_id,
    serialize_job,
)


def test_run_ids_sort_by_time_and_carry_it() -> None:
    ids = [new_run_id(at) for at in (0, 1, 1_732_268_000_000, 2**44 - 1)]
    assert ids == sorted(ids)
    assert [created_ms(run_id) for run_id in ids] == [0, 1, 1_732_268_000_000, 2**44 - 1]
    assert {len(run_id) for run_id in ids} == {28}


def test_run_ids_begin_with_a_version_letter_and_never_repeat() -> None:
    ids = {new_run_id(5) for _ in range(1000)}
    assert len(ids) == 1000
    assert {run_id[0] for run_id in ids} == {"a"}


def test_a_request_comes_back_as_it_went() -> None:
    request = RunRequest(
        run_id=new_run_id(),
        agent="coder",
        pool="coding",
        principal="someone",
        reply="reply:1",
        stream=True,
        on_lost="continue",
        transcript=[
            {"type": "message", "role": "user", "content": [{"type": "text", "text": "é"}]}
        ],
        options={"temperature": 0.5, "stop": ["x"]},
        tools=[{"type": "function", "name": "f", "spec": {"type": "object"}}],
        tool_choice={"mode": "auto"},
        format={"type": "json_schema", "schema": {}},
    )
    assert decode_job(request.run_id, encode_job(request)) == request


def test_a_job_is_arqs_in_json_with_a_version() -> None:
    run_id = new_run_id(1_732_268_000_000)
    values = orjson.loads(encode_job(RunRequest(run_id, "a")))
    assert values["v"] == 1
    assert (values["t"], values["f"], values["a"]) == (None, "run", [])
    assert values["et"] == 1_732_268_000_000
    assert values["k"].keys() == {"request"}


def test_a_job_leaves_out_what_the_request_does_not_say() -> None:
    values = orjson.loads(encode_job(RunRequest(new_run_id(), "a")))
    assert values["k"]["request"].keys() == {"run_id", "agent", "pool", "on_lost", "v"}


def test_the_id_of_the_job_wins_and_what_is_not_known_is_passed_over() -> None:
    job = serialize_job({"k": {"request": {"agent": "a", "run_id": "other", "later": 1}}})
    assert decode_job("mine", job) == RunRequest(run_id="mine", agent="a")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "job",
    [
        b"",
        b"\x80\x04\x95",
        b"null",
        b"[]",
        b"{}",
        b'{"k":null}',
        b'{"k":{"request":null}}',
        b'{"k":{"request":[]}}',
        b'{"k":{"request":"run"}}',
        b'{"k":{"request":{}}}',
        b'{"k":{"request":{"agent":7}}}',
        b'{"k":{"request":{"agent":"a","v":2}}}',
    ],
)
def test_whatever_lies_in_redis_is_a_request_or_a_value_error(job: bytes) -> None:
    with pytest.raises(ValueError, match="run r"):
        decode_job("r", job)


@pytest.mark.parametrize("values", [{}, {"f": "run"}, {"k": {"request": {"agent": "a"}}}])
def test_arqs_serializers_are_inverse(values: dict[str, Any]) -> None:
    assert deserialize_job(serialize_job(values)) == {"v": 1, **values}
