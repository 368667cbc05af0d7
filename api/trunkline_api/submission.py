"""What the script `submit` is told of one run: the arguments that it reads, in its order."""

from collections.abc import Iterable
from typing import NamedTuple

from trunkline_api.idempotency import IdempotencyKey
from trunkline_api.settings import ApiSettings
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.run import RunRequest, encode_job
from trunkline_shared.scripts import SLACK_MS, Argument


class Admission(NamedTuple):
    """What a run is admitted with, beside what it asks of the worker.

    `max_concurrent` of its principal, None for the deployment's; `record` is what is stored beside
    the result of one that is stored, sealed, and `lists` which ones a completion is in. `key` is
    what it can be asked for again by. Its conversation `must_exist`, whatever the setting. In the
    `background` it has no client to end it.
    """

    agent: AgentConfig
    max_concurrent: int | None = None
    record: bytes = b""
    lists: str = ""
    key: IdempotencyKey | None = None
    must_exist: bool = False
    background: bool = False


class Kept(NamedTuple):
    """What a request has stored: its `record`, sealed, and the `lists` that a completion is in, as
    `submit` reads them.
    """

    record: bytes = b""
    lists: str = ""


def submission(
    settings: ApiSettings, request: RunRequest, admission: Admission
) -> tuple[Argument, ...]:
    """The arguments: those that each run has by their place, the others by name."""
    agent = admission.agent
    max_concurrent = admission.max_concurrent
    if max_concurrent is None:
        max_concurrent = settings.max_concurrent
    wait_ms = int(settings.conversation_wait_s * 1000) if request.conversation else 0
    timeout_ms = int(agent.limits.timeout_s * 1000)
    arguments: tuple[Argument, ...] = (
        request.run_id,
        f"{request.agent} {request.pool} {request.principal}",
        request.reply,
        f"{timeout_ms} {agent.slots} {request.on_lost} {int(request.stream)}",
        max_concurrent,
        int(settings.queue_timeout_s * 1000) + wait_ms + SLACK_MS,
        encode_job(request),
    )
    if admission.record:
        arguments = (*arguments, "record", admission.record)
    if admission.lists:
        arguments = (*arguments, "lists", admission.lists)
    if admission.key is not None:
        name, digest = admission.key
        kept_ms = int(settings.idempotency_retention_s * 1000)
        arguments = (*arguments, "idem", name, "idem_body", digest, "idem_ms", kept_ms)
    if settings.response_webhooks and admission.record and admission.background:
        arguments = (*arguments, "rhooks", 1)
    if request.conversation:
        arguments = (*arguments, *_turn(settings, request, wait_ms, admission))
    return arguments


def _turn(
    settings: ApiSettings, request: RunRequest, wait_ms: int, admission: Admission
) -> Iterable[Argument]:
    return (
        *("conv", request.conversation),
        *("wait_ms", wait_ms),
        *("max_waiting", settings.max_waiting),
        *("unknown", "refuse" if admission.must_exist else settings.unknown_conversations),
        *("model", request.model),
        *("hooks", int(bool(settings.webhooks))),
    )
