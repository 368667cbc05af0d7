"""Structured logs on stderr: one line per event, JSON or text. Content and secrets stay out."""

import asyncio
import logging
import re
import sys
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TextIO

import orjson

from trunkline_shared.errors import ConfigError

OUR_LOGGERS = ("trunkline", "trunkline_api", "trunkline_worker", "trunkline_shared")
REDACTED = "[redacted]"

# What a field of these names holds is a secret or somebody's words, whoever logged it.
_PRIVATE_FIELDS = frozenset(
    {"api_key", "authorization", "key", "password", "secret", "secret_key", "token"}
    | {"arguments", "content", "input", "messages", "output", "prompt", "system_prompt", "text"}
)
_NOT_AS_THEY_ARE = _PRIVATE_FIELDS | {"ts", "level", "logger", "message"}
_SECRETS_IN_TEXT = (
    (re.compile(r"(://)[^/@\s\"'<>]*@"), rf"\1{REDACTED}@"),  # scheme://user:password@host
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{4,}"), rf"\1 {REDACTED}"),
    (re.compile(r"\bsk-[\w-]{6,}"), REDACTED),
    # pydantic quotes the value that it refused, which is a caller's
    (re.compile(r"\binput_value=.*?, input_type="), f"input_value={REDACTED}, input_type="),
)
# What every one of the patterns needs to see; of `://` what JSON is not full of.
_SIGNS = ("//", "bearer", "basic", "sk-", "input_value")
_LEVELS = {
    level: logging.getLevelName(level).lower() for level in logging.getLevelNamesMapping().values()
}
_GATHER_S: Final = 0.01
_NO_FIELDS: Final[Mapping[str, Any]] = MappingProxyType({})


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
    handler = _Gathering(sys.stderr, JsonFormatter() if format == "json" else TextFormatter())
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(number)


def log_event(
    logger: logging.Logger, message: str, *, level: int = logging.INFO, **fields: Any
) -> None:
    """Log `message` with `fields`, in their order; fields that are None are left out."""
    log_fields(logger, level, message, fields)


def log_fields(logger: logging.Logger, level: int, message: str, fields: Mapping[str, Any]) -> None:
    """The same for lines of many fields: named in the call they would cost as much as the line."""
    if not logger.isEnabledFor(level):
        return
    handlers = logging.root.handlers
    if len(handlers) == 1 and type(handlers[0]) is _Gathering:
        # Nobody else listens: a record, which is more than half of a line's cost, is not needed.
        handler = handlers[0]
        handler.take(level, handler.line(logger.name, level, time.time(), message, fields))
    else:
        logger.log(level, message, extra={"fields": fields})


class _Gathering(logging.StreamHandler[TextIO]):
    """Writes the lines of one moment together, since a write costs as much as its line. Warnings,
    and what is logged outside of an event loop, do not wait; the process's end writes the rest."""

    def __init__(self, stream: TextIO, formatter: "JsonFormatter | TextFormatter") -> None:
        super().__init__(stream)
        self._formatter = formatter
        self.line = formatter.line
        self._lines: list[str] = []

    def handle(self, record: logging.LogRecord) -> bool:
        self.emit(record)  # past filters, of which there are none, and a lock that `flush` takes
        return True

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.take(record.levelno, self._formatter.format(record))
        except Exception:  # noqa: BLE001  # as in every handler: no line may break who logs it
            self.handleError(record)

    def take(self, level: int, line: str) -> None:
        self._lines.append(line)
        loop = _loop_of_this_thread() if level < logging.WARNING else None
        if loop is None:
            self.flush()
        elif len(self._lines) == 1:
            loop.call_later(_GATHER_S, self.flush)

    def flush(self) -> None:
        self.acquire()
        try:
            lines = self._lines[:]
            del self._lines[: len(lines)]  # another thread may have added one meanwhile
            if lines:
                self.stream.write("\n".join([*lines, ""]))
            self.stream.flush()
        finally:
            self.release()


def _loop_of_this_thread() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts (ISO-8601, UTC), level, logger, message, then the fields."""

    def __init__(self) -> None:
        super().__init__()
        self._second = self._ms = -1
        self._until_seconds = self._stamp = ""

    def format(self, record: logging.LogRecord) -> str:
        exception = self.formatException(record.exc_info) if record.exc_info else None
        return self.line(*_of_record(record), exception)

    def line(
        self,
        logger: str,
        level: int,
        created: float,
        message: str,
        fields: Mapping[str, Any],
        exception: str | None = None,
    ) -> str:
        line: dict[str, Any] = {
            "ts": self._timestamp(created),
            "level": _LEVELS.get(level) or logging.getLevelName(level).lower(),
            "logger": logger,
            "message": message,
        }
        for name, value in fields.items():
            if value is None:
                continue
            if name not in _NOT_AS_THEY_ARE:
                line[name] = value
            elif name in _PRIVATE_FIELDS:
                line[name] = REDACTED
        if exception:
            line["exception"] = exception
        text = _json(line)
        if _shows_sign(text):  # one look at the whole line: most hold ids and numbers
            text = _json({name: _clean(value) for name, value in line.items()})
        return text

    def _timestamp(self, created: float) -> str:
        ms = int(created * 1000)
        if ms != self._ms:  # many lines of a busy process are of the same
            second, self._ms = ms // 1000, ms
            if second != self._second:
                self._second = second
                self._until_seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._stamp = f"{self._until_seconds}.{ms % 1000:03d}+00:00"
        return self._stamp


class TextFormatter(logging.Formatter):
    """`12:00:00.123 INFO message name=value`, in local time; a traceback follows on own lines."""

    def format(self, record: logging.LogRecord) -> str:
        exception = self.formatException(record.exc_info) if record.exc_info else None
        return self.line(*_of_record(record), exception)

    def line(
        self,
        logger: str,
        level: int,
        created: float,
        message: str,
        fields: Mapping[str, Any],
        exception: str | None = None,
    ) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(created))
        message = _without_secrets(message).replace("\n", "\\n").replace("\r", "\\r")
        words = [f"{clock}.{int(created % 1 * 1000):03d}", logging.getLevelName(level), message]
        for name, value in fields.items():
            if value is not None:
                shown = REDACTED if name in _PRIVATE_FIELDS else _clean(value)
                words.append(f"{name}={_word(shown)}")
        line = " ".join(words)
        if exception:
            line += "\n" + _without_secrets(exception)
        return line


def _of_record(record: logging.LogRecord) -> tuple[str, int, float, str, Mapping[str, Any]]:
    fields = getattr(record, "fields", _NO_FIELDS)
    return record.name, record.levelno, record.created, record.getMessage(), fields


def _json(line: dict[str, Any]) -> str:
    return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _clean(value: Any) -> Any:
    return _without_secrets(value) if isinstance(value, str) else value


def _shows_sign(text: str) -> bool:
    lower = text.lower()
    for sign in _SIGNS:  # noqa: SIM110  # a generator costs twice this
        if sign in lower:
            return True
    return False


def _without_secrets(text: str) -> str:
    if _shows_sign(text):  # the patterns cost more than all the rest of a line
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
