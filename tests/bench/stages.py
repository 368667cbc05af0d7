"""Which stage of a run's way a sampled stack belongs to.

A stage is known by functions that begin it: the innermost of these in a stack decides.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

_OTHER: Final = "event loop and the rest"
_STAGES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        # The API process, in the order of a request.
        "HTTP in": (
            "HttpToolsProtocol.",
            "Connection.data_received (trunkline_api",
            "RequestResponseCycle.run_asgi",
        ),
        "key, headers, body": ("Exchanges.__call__", "Answer.__call__", "Answer._ask"),
        "validation": ("parse_chat (", "parse_responses ("),
        "the run's request": ("Answer._plain_run", "ChatQuestion.", "Targets.find"),
        "submit": ("Following.", "Runs.submit", "Submits."),
        "frames in": ("Channel._take", "Hub.", "Reader.", "Relay.", "Stream."),
        "rendering": ("ChatRenderer.", "ResponsesRenderer."),
        "write to the client": (
            "RequestResponseCycle.send",
            "DirectClient.begin",
            "DirectClient.write",
            "_Together.",
        ),
        # The worker, in the order of a run.
        "claim": ("Dispatch.run", "Dispatch._listen_forever"),
        "begin and end of a run": ("Dispatch._execute", "Dispatch._start", "Execution."),
        "request to the model": ("ChatBackend.run", "Connection.call ("),
        "answer, HTTP": ("Connection.data_received (trunkline_worker",),
        "answer, its text": ("ChatStream.feed",),
        "usage and price": ("Chain._finished",),
        "frames out": ("RunWriter.emit", "Publisher."),
        # Both.
        "write to Redis": ("Pipe.flush",),
        "replies of Redis": ("RedisProtocol.", "Pipe._take"),
        "log line": (
            "log_event (",
            "log_fields (",
            "_Gathering.",
            "Execution._log",
            "_log (trunkline_api",
        ),
    }
)


def stage_of(frames: Iterable[str]) -> str:
    """`frames` from the outermost to the innermost, as `function (file)`."""
    for frame in reversed([*frames]):
        for stage, begins in _STAGES.items():
            if frame.startswith(begins):
                return stage
    return _OTHER


def in_order(counted: Counter[str]) -> Counter[str]:
    """The stages that were met, in the order of a run's way."""
    return Counter({name: counted[name] for name in [*_STAGES, _OTHER] if counted[name]})
