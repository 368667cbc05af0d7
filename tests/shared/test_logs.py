import json
import logging
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from trunkline_shared.errors import ConfigError
from trunkline_shared.logs import JsonFormatter, TextFormatter, configure_logging, log_event

EMIT = """
import logging
from trunkline_shared.logs import configure_logging, log_event
configure_logging({format!r}, {level!r})
logger = logging.getLogger("trunkline_api.chat")
log_event(logger, "request", run_id="r1", agent="echo", status=200, cost=None, wait_ms=1.23456789)
logger.debug("detail")
logging.getLogger("aiohttp.client").info("their headers")
"""


def emit(format: str, level: str = "info") -> list[str]:
    code = EMIT.format(format=format, level=level)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("trunkline.test", logging.INFO, __file__, 1, message, None, None)
    made.fields = fields
    return made


def test_json_gives_one_object_a_line_with_its_fields() -> None:
    (line,) = emit("json")
    logged = json.loads(line)
    assert datetime.fromisoformat(logged.pop("ts")).tzinfo == UTC
    assert logged == {
        "level": "info",
        "logger": "trunkline_api.chat",
        "message": "request",
        "run_id": "r1",
        "agent": "echo",
        "status": 200,
        "wait_ms": 1.23456789,
    }


def test_text_gives_one_short_line_of_names_and_values() -> None:
    (line,) = emit("text")
    assert line[12:] == " INFO request run_id=r1 agent=echo status=200 wait_ms=1.23457"


def test_the_level_is_that_of_our_own_loggers_and_not_of_others() -> None:
    lines = emit("text", "debug")
    assert len(lines) == 2
    assert lines[1].endswith("DEBUG detail")
    assert emit("text", "WARNING") == []


def test_an_unknown_level_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"--log-level.*'loud'"):
        configure_logging("text", "loud")


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
@pytest.mark.parametrize(
    "made",
    [
        record("asked", content="hunter2", prompt="hunter2", messages=["hunter2"]),
        record("called", api_key="hunter2", authorization="hunter2", password="hunter2"),
        record("no answer from redis://user:hunter2@redis:6379/0"),
        record("refused", reason="Authorization: Bearer hunter2-and-more"),
        record("refused", reason="Incorrect API key provided: sk-hunter2-and-more"),
        record("1 error [type=int, input_value={'content': 'hunter2'}, input_type=dict]"),
    ],
)
def test_secrets_and_content_are_redacted(
    formatter: logging.Formatter, made: logging.LogRecord
) -> None:
    line = formatter.format(made)
    assert "hunter2" not in line
    assert "[redacted]" in line


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_traceback_is_redacted(formatter: logging.Formatter) -> None:
    made = record("failed")
    try:
        raise ValueError("redis://:hunter2@redis:6379")
    except ValueError as error:
        made.exc_info = (type(error), error, error.__traceback__)
    line = formatter.format(made)
    assert "hunter2" not in line
    assert "ValueError" in line


def test_a_field_cannot_forge_a_line_or_replace_what_we_say() -> None:
    assert "\n" not in TextFormatter().format(record("a\nb", agent="x\ny z", empty=""))
    assert json.loads(JsonFormatter().format(record("said", level="forged")))["level"] == "info"


def test_counts_of_tokens_are_no_secrets() -> None:
    assert TextFormatter().format(record("run", tokens=12)).endswith("tokens=12")


def test_log_event_says_nothing_below_its_level(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("trunkline.quiet")
    logger.setLevel(logging.WARNING)
    log_event(logger, "unheard")
    assert caplog.records == []


GATHERED = """
import asyncio, logging, sys
from trunkline_shared.logs import configure_logging, log_event

class Counted:
    def write(self, text): print(repr(text))
    def flush(self): pass

async def main():
    sys.stderr = Counted()
    configure_logging("text", "info")
    logger = logging.getLogger("trunkline_api.chat")
    for number in range(3):
        log_event(logger, "request", number=number)
    logger.warning("odd")
    log_event(logger, "last")

asyncio.run(main())
"""


def test_lines_of_one_moment_are_one_write_and_a_warning_or_the_end_writes_them_all() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GATHERED], capture_output=True, text=True, check=True
    )
    writes = [line.split(" ", 1)[1] for line in done.stdout.splitlines()]
    assert [write.count("\\n") for write in writes] == [4, 1]
    assert writes[0].endswith("WARNING odd\\n'")
    assert writes[1] == "INFO last\\n'"
