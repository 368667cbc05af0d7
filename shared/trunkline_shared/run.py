"""A run: one execution of an agent, as the API tier asks for it and a worker receives it."""

import os
import time
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, NewType

import orjson

from trunkline_shared.transcript import Format, Item, Options, Tool, ToolChoice

RunId = NewType("RunId", str)
REQUEST_VERSION = 1
RUN_ID_LENGTH: Final = 28
ESTIMATED: Final = "estimated"


def new_run_id(now_ms: int | None = None) -> RunId:
    """A run id that sorts by time: version letter, 11 hex digits of Unix ms, 16 random ones."""
    at_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    return RunId(id_at(at_ms) + os.urandom(8).hex())


def id_at(at_ms: int) -> str:
    """How all ids of that Unix ms begin; those from before it sort before it."""
    return f"a{at_ms:011x}"


def is_run_id(text: str) -> bool:
    """Whether a run could be called so."""
    return len(text) == RUN_ID_LENGTH and text.isascii() and text.isalnum()


def created_ms(run_id: str) -> int:
    """The Unix time in ms that a run id carries."""
    return int(run_id[1:12], 16)


@dataclass  # frozen it would take 2.7 us to make, and 4.9 to fill in, not 0.7
class RunRequest:
    """Everything a worker needs. Never carries a secret, an OpenAI shape or an HTTP status.

    `reply` names the channel of the API process that waits ("" = nobody waits), `on_lost` says
    what `claim` does when text was already shown: end the run, or let a new attempt continue.
    `model` is what the caller named, where that is not the agent. `profile` is the LLM that the
    agent is to use, sealed as a whole. With a `conversation` the transcript is the whole one that
    the caller sent: the worker continues the history with what is new in it, which is `all_new`
    where the caller says so. `store` keeps the folded result. `max_tool_calls` bounds calls of the
    agent's own tools, as its limit does. With `truncate` the oldest of the transcript is left out
    if it is too long for the model.

    `purpose` is empty for an answer. A `compact` ends when the transcript is summed up. Of a
    `summary` the agent's own tools take no part. A `count` says nothing: its `Finished` has the
    tokens of the input, and ESTIMATED as its detail where nobody counted them. A transcript of more
    tokens than `compact_above` is summed up before it is answered.
    """

    run_id: RunId
    agent: str
    pool: str = "default"
    principal: str = ""
    reply: str = ""
    stream: bool = False
    on_lost: Literal["fail", "continue"] = "fail"
    transcript: list[Item] = field(default_factory=list)
    options: Options = field(default_factory=Options)
    tools: list[Tool] = field(default_factory=list)
    tool_choice: ToolChoice | None = None
    format: Format | None = None
    conversation: str = ""
    all_new: bool = False
    profile: str = ""
    store: bool = False
    model: str = ""
    instructions: str = ""
    max_tool_calls: int | None = None
    truncate: bool = False
    compact_above: int | None = None
    purpose: Literal["", "compact", "summary", "count"] = ""
    v: int = REQUEST_VERSION


_SENT: Final = frozenset(each.name for each in fields(RunRequest)) - {"run_id"}


def encode_job(request: RunRequest) -> bytes:
    """The request as an arq job (arq's own keys, our serialisation)."""
    # What is empty is so by default, and left out: half of the fields, which reading would cost.
    said = {name: value for name, value in vars(request).items() if value}
    at_ms = created_ms(request.run_id)
    return serialize_job({"t": None, "f": "run", "a": (), "k": {"request": said}, "et": at_ms})


def decode_job(run_id: str, job: bytes) -> RunRequest:
    """The request of an arq job. Raises ValueError when this version cannot read it."""
    try:
        values: dict[str, Any] = orjson.loads(job)["k"]["request"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"the job of run {run_id} is not a run request") from error
    if not isinstance(values, dict) or not isinstance(values.get("agent"), str):
        raise ValueError(f"the job of run {run_id} names no agent")
    if values.get("v", REQUEST_VERSION) != REQUEST_VERSION:
        raise ValueError(f"the request of run {run_id} has the unknown version {values['v']!r}")
    request = RunRequest(RunId(run_id), values["agent"])
    # As keywords, names that were just parsed would be compared with those of all parameters: twice
    # the instructions of all that is done here.
    for name, value in values.items():
        if name in _SENT:
            setattr(request, name, value)
    return request


def serialize_job(job: dict[str, Any]) -> bytes:
    """arq's `job_serializer`: orjson, so that who can write to Redis cannot run code."""
    return orjson.dumps({"v": 1, **job})


def deserialize_job(job: bytes) -> dict[str, Any]:
    """arq's `job_deserializer`."""
    values: dict[str, Any] = orjson.loads(job)
    return values
