"""Settings of a worker process."""

from dataclasses import dataclass

from trunkline_shared.config.models import DEFAULT_POOL
from trunkline_shared.settings import (
    CommonSettings,
    Count,
    MaybeSeconds,
    Names,
    Positive,
    Seconds,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings(CommonSettings):
    slots: Positive = 100  # runs at once, weighed by their agents' slots
    pool: Names = (DEFAULT_POOL,)  # which queues this worker serves
    drain_s: MaybeSeconds = 30.0  # what runs may go on so long after SIGTERM
    poll_s: Seconds = 5.0  # the net under the wake list
    run_buffer_bytes: Positive = 8 * 1024 * 1024  # events of one run while Redis takes none
    connect_timeout_s: Seconds = 10.0  # to an upstream
    silence_timeout_s: Seconds = 120.0  # an upstream that sends nothing for so long
    upstream_retries: Count = 2  # before the first token, per model of the chain
    workspaces: str = (
        ""  # where the directories of tools lie; empty: below the user's state directory
    )
    workspace_bytes: Positive = 2 * 1024 * 1024 * 1024  # what a run's files may take up on the disk
    workspace_kept_s: Seconds = 30 * 86_400.0  # a conversation's files after its last run
