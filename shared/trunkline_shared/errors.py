"""Errors of the program and failure codes of runs.

TrunklineError
├── ConfigError        the operator's file or settings are wrong; exit code 2
├── StartError         the process cannot start here (port, Redis, data directory); exit code 2
├── RedisUnavailable   Redis did not answer in time; the caller may retry
├── ServerBroken       a server inside somebody's program cannot go on; the program can
└── Refused            `submit` did not admit a run; carries code and measured wait
"""

from typing import Literal, TypeAlias

FailureCode: TypeAlias = Literal[
    "invalid_request",  # the agent or its upstream cannot take this request as it is
    "upstream_error",  # upstream 5xx, cut, garbage
    "upstream_timeout",  # upstream silent or too slow
    "upstream_rate_limited",  # upstream 429
    "upstream_rejected_us",  # upstream 401/403/404: our configuration is wrong
    "context_length_exceeded",
    "invalid_output",  # the model never answered in the format that was asked for
    "run_timeout",  # limits.timeout_s
    "queue_timeout",  # nobody took it in queue_timeout_s
    "queue_full",
    "concurrency_limit",  # max_concurrent of the key
    "conversation_full",  # too many runs wait in it
    "conversation_busy",  # the runs before it took too long
    "conversation_not_found",
    "agent_unavailable",
    "cancelled",
    "worker_lost",  # its worker died after output was shown, or too often
    "worker_draining",
    "api_draining",
    "run_lost",  # the log is gone
    "redis_unavailable",
    "server_error",
]


class TrunklineError(Exception):
    """Base of every error this program raises on purpose."""


class ConfigError(TrunklineError):
    """`str()` is one line that names file, line and the fix."""


class StartError(TrunklineError):
    """`str()` is one line that says what stands in the way and what to do."""


class RedisUnavailable(TrunklineError):
    """Redis did not answer within its time-out, or refused for want of memory."""


class ServerBroken(TrunklineError):
    """Something that the server cannot do without ended by itself; `__cause__` says more."""


class Refused(TrunklineError):
    """A run was not admitted."""

    def __init__(self, code: FailureCode, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.code: FailureCode = code
        self.message = message
        self.retry_after_s = retry_after_s
