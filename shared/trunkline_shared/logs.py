"""Structured logs on stderr: one line per event, JSON or text. Content and secrets stay out."""

import logging
import re
import sys
import time
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from trunkline_shared.errors import ConfigError

OUR_LOGGERS = ("trunkline", "trunkline_api", "trunkline_worker", "trunkline_shared")
REDACTED = "[redacted]"

# What a field of these names holds is a secret or somebody's words, whoever logged it.
_PRIVATE_FIELDS = frozenset(
    {"api_key", "authorization", "key", "password", "secret", "secret_key", "token"}
    | {"arguments", "content", "input", "messages", "output", "prompt", "system_prompt", "text"}
)
_SECRETS_IN_TEXT = (
    (re.compile(r"(://)[^/@\s\"'<>]*@"), rf"\1{REDACTED}@"),  # scheme://user:password@host
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{4,}"), rf"\1 {REDACTED}"),
    (re.compile(r"\bsk-[\w-]{6,}"), REDACTED),
    # pydantic quotes the value that it refused, which is a caller's
    (re.compile(r"\binput_value=.*?, input_type="), f"input_value={REDACTED}, input_type="),
)
# What every one of the patterns needs to see.
_SIGNS = ("://", "bearer", "basic", "sk-", "input_value")


def configure_logging(format: Literal["json", "text"], level: str) -> None:
    """Send the process's log lines to stderr. Called once, by the command line.

    `level` is that of our own loggers. Other people's stay at WARNING: their INFO and DEBUG
    lines quote headers and bodies. Raises ConfigError on an unknown level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ConfigError(
            f"--log-level (TRUNKLINE_LOG_LEVEL): expected debug, info, warning or error, "
            f"got {level!r}"
        )
    # As the logging documentation advises who does not show them: no line looks these up.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(number)


def log_event(
    logger: logging.Logger, message: str, *, level: int = logging.INFO, **fields: Any
) -> None:
    """Log `message` with `fields`, in their order; fields that are None are left out."""
    if logger.isEnabledFor(level):
        logger.log(level, message, extra={"fields": fields})


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts (ISO-8601, UTC), level, logger, message, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _without_secrets(record.getMessage()),
        }
        for name, value in _fields(record).items():
            line.setdefault(name, value)
        if record.exc_info:
            line["exception"] = _without_secrets(self.formatException(record.exc_info))
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class TextFormatter(logging.Formatter):
    """`12:00:00.123 INFO message name=value`, in local time; a traceback follows on own lines."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        message = _without_secrets(record.getMessage()).replace("\n", "\\n").replace("\r", "\\r")
        words = [f"{clock}.{record.msecs:03.0f}", record.levelname, message]
        words += [f"{name}={_word(value)}" for name, value in _fields(record).items()]
        line = " ".join(words)
        if record.exc_info:
            line += "\n" + _without_secrets(self.formatException(record.exc_info))
        return line


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return {name: _shown(name, value) for name, value in fields.items() if value is not None}


def _shown(name: str, value: Any) -> Any:
    if name in _PRIVATE_FIELDS:
        return REDACTED
    return _without_secrets(value) if isinstance(value, str) else value


def _without_secrets(text: str) -> str:
    lower = text.lower()
    # Most fields are ids and numbers: the patterns cost more than all the rest of a line.
    if not any(sign in lower for sign in _SIGNS):
        return text
    for pattern, replacement in _SECRETS_IN_TEXT:
        text = pattern.sub(replacement, text)
    return text


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    word = value if isinstance(value, str) else str(value)
    if word and word.isprintable() and not set(word) & set(' "='):
        return word
    return orjson.dumps(word).decode()
