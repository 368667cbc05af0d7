"""Settings of a worker process."""

from dataclasses import dataclass

from trunkline_shared.config.models import DEFAULT_POOL
from trunkline_shared.settings import CommonSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings(CommonSettings):
    slots: int = 100  # runs at once, weighed by their agents' slots
    pool: tuple[str, ...] = (DEFAULT_POOL,)  # which queues this worker serves
    drain_s: float = 30.0  # what runs may go on so long after SIGTERM
    poll_s: float = 5.0  # the net under the wake list
    run_buffer_bytes: int = 8 * 1024 * 1024  # events of one run while Redis takes none
    connect_timeout_s: float = 10.0  # to an upstream
    silence_timeout_s: float = 120.0  # an upstream that sends nothing for so long
    upstream_retries: int = 2  # before the first token, per model of the chain
    upstream_connections: int = 1000  # pooled, per worker
