import logging

import pytest

from tests.api.fake_answer import Reply
from trunkline_api.errors import ApiError
from trunkline_api.observability import span_name
from trunkline_shared.events import Finished

PREFIX = b"x-openhands-observability-"


def test_the_span_is_named_and_all_else_is_taken() -> None:
    headers = {
        PREFIX + b"span-name": b"team/triage:v2",
        PREFIX + b"tags": b"a, b",
        PREFIX + b"metadata": b'{"a": "x", "b": [1, 2], "c": true}',
        PREFIX + b"parent-span-context": b"anything",
    }
    assert span_name(headers) == "team/triage:v2"
    assert span_name({}) is None


@pytest.mark.parametrize(
    "metadata", [b"x", b"[]", b'"a"', b'{"a": null}', b'{"a": {"b": 1}}', b'{"a": [{}]}']
)
def test_metadata_that_no_trace_could_hold_is_refused(metadata: bytes) -> None:
    with pytest.raises(ApiError, match="X-OpenHands-Observability-Metadata") as raised:
        span_name({PREFIX + b"metadata": metadata})
    assert raised.value.status == 400
    assert raised.value.param == "X-OpenHands-Observability-Metadata"


@pytest.mark.parametrize("name", [b"two words", b"x" * 129, b"a\nb", "é".encode()])
def test_a_span_name_that_is_none_is_refused(name: bytes) -> None:
    with pytest.raises(ApiError, match="Span-Name"):
        span_name({PREFIX + b"span-name": name})


async def test_the_requests_log_line_tells_the_span(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    reply = Reply([Finished("stop")])
    reply.sent_headers = [(PREFIX + b"span-name", b"triage"), (PREFIX + b"tags", b"hidden")]
    await reply.ask()
    (line,) = [record for record in caplog.records if record.message == "request"]
    assert line.fields["span"] == "triage"  # type: ignore[attr-defined]
    assert "hidden" not in str(line.fields)  # type: ignore[attr-defined]
