"""The lines of the tables, and the targets that bind them."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Row:
    """A line of a case's table: a figure by its key, shown with so many digits.

    A target is the most that it may be, and binds trunkline's value or its ratio to the relay's.
    """

    case: str
    label: str
    key: str
    digits: int = 1
    must: float | None = None
    stretch: float | None = None
    binds: Literal["ratio", "value"] = "value"
    added: bool = False  # what the system adds to asking the upstream directly
    total: bool = False  # the sum of all rounds, as one fault among many rounds counts


def _split(case: str, digits: int = 2) -> tuple[Row, ...]:
    return (
        Row(case, "  of the API process", "cpu.api", digits),
        Row(case, "  of the worker", "cpu.worker", digits),
        Row(case, "  of Redis", "cpu.redis", 2),
    )


def _faults(case: str) -> Row:
    return Row(case, "lost, doubled, errors: all rounds", "bad", 0, 0.0, total=True)


def _requests(case: str, *targets: float) -> tuple[Row, ...]:
    must, stretch = targets or (None, None)
    return (
        Row(case, "CPU per request, ms", "cpu", 2, must, stretch, "ratio"),
        *_split(case),
        Row(case, "requests/s", "requests_per_s", 0),
        Row(case, "Redis calls per run, in scripts too", "redis_calls"),
        Row(case, "Redis bytes per run, in and out", "redis_bytes", 0),
        _faults(case),
    )


def _tokens(case: str, *targets: float) -> tuple[Row, ...]:
    must, stretch = targets or (None, None)
    return (
        Row(case, "CPU per token, µs", "cpu", 1, must, stretch, "ratio"),
        *_split(case, 1),
        Row(case, "tokens/s", "tokens_per_s", 0),
        Row(case, "Redis calls per token", "redis_calls", 3),
        Row(case, "Redis bytes per token, in and out", "redis_bytes", 0),
    )


def _delays(case: str, *targets: float) -> tuple[Row, ...]:
    must, stretch = targets or (None, None)
    return (
        Row(case, "tokens in step with the upstream, share", "kept_up", 2),
        Row(case, "delay of a token p50, ms", "delay_p50_ms"),
        Row(case, "delay of a token p99, ms", "delay_p99_ms", 1, must, stretch),
    )


ROWS = (
    Row("ttft", "added time to first token p50, ms", "ttft_p50_ms", 2, 2.5, 2.0, added=True),
    Row("ttft", "added time to first token p99, ms", "ttft_p99_ms", 2, added=True),
    Row("ttft", "time to first token p50, ms", "ttft_p50_ms", 2),
    *_requests("ttft"),
    *_requests("short", 2.5, 2.0),
    *_requests("whole"),
    *_requests("large"),
    *_requests("responses"),
    Row("responses", "CPU per chat completion, ms", "cpu.chat", 2),
    Row("responses", "CPU per stored response, ms", "cpu.stored", 2),
    Row("responses", "a response by a chat completion", "to_chat", 2),
    Row("responses", "a stored one by a chat completion", "stored_to_chat", 2),
    Row("trips", "round trips per run but for tokens", "trips", 1, 4.0),
    Row("trips", "  writes of tokens", "writes"),
    Row("trips", "with 32 at a time: round trips", "busy.trips"),
    Row("trips", "  writes of tokens", "busy.writes"),
    Row("trips", "submit", "trips.submit"),
    Row("trips", "claim", "trips.claim"),
    Row("trips", "finish", "trips.finish"),
    Row("trips", "waits of the worker", "trips.blpop"),
    Row("trips", "Redis calls per run, in scripts too", "redis_calls"),
    _faults("trips"),
    Row("cancel", "cancelled, stream closed, p50, ms", "over_p50_ms", 1),
    Row("cancel", "cancelled, stream closed, p99, ms", "over_p99_ms", 1, 250.0),
    Row("cancel", "  the reply alone p50, ms", "reply_p50_ms", 1),
    Row("cancel", "  the reply alone p99, ms", "reply_p99_ms", 1),
    Row("cancel", "not cancelled: all rounds", "bad", 0, 0.0, total=True),
    *_tokens("burst", 2.5, 1.8),
    _faults("burst"),
    *_tokens("paced", 1.4, 1.2),
    *_delays("paced", 150.0, 100.0),
    _faults("paced"),
    *_tokens("wide"),
    *_delays("wide"),
    Row("wide", "streams at once", "held", 0),
    _faults("wide"),
    Row("held", "time to first token p50, ms", "ttft_p50_ms", 2, 5.0),
    Row("held", "time to first token p99, ms", "ttft_p99_ms", 2),
    Row("held", "runs held", "held", 0),
    Row("held", "all gone after their clients, s", "left_after_s", 2),
    Row("held", "memory per open stream, KiB: relay", "kib.relay"),
    Row("held", "  of the API process", "kib.api", 1, 16.0),
    Row("held", "  of the worker", "kib.worker"),
    Row("held", "  of Redis, its keys", "kib.keys"),
    Row("held", "idle API, CPU ms/s", "idle_ms.api"),
    Row("held", "idle worker, CPU ms/s", "idle_ms.worker", 1, 5.0),
    Row("held", "idle Redis, calls/s", "idle_redis_calls", 0),
    _faults("held"),
    Row("flight", "said at once: Redis' memory per run, KB", "burst.memory", 1, 12.0),
    Row("flight", "  its keys by their own account", "burst.keys"),
    Row("flight", "  runs held", "burst.held", 0),
    Row("flight", "said in time: Redis' memory per run, KB", "paced.memory", 1, 30.0),
    Row("flight", "  its keys by their own account", "paced.keys"),
    Row("flight", "  runs held", "paced.held", 0),
    _faults("flight"),
    Row("scale", "runs/s of 1 worker", "runs_per_s.1"),
    Row("scale", "  of 2", "runs_per_s.2"),
    Row("scale", "  of 4", "runs_per_s.4"),
    Row("scale", "short of linear, the worse of 2 and 4, %", "short_of_linear", 1, 5.0),
    _faults("scale"),
    Row("slots", "slots", "slots", 0),
    Row("slots", "  in use at once", "used", 0),
    Row("slots", "  never used", "unused", 0, 0.0),
    Row("slots", "all in use after, s", "used_after_s", 2),
)
