"""Programs written for OpenHands' gateway run as they are, with the checkout on PYTHONPATH.

OPENHANDS_EXAMPLE may name a copy of the published one, which then runs in place of ours:
examples/02_remote_agent_server/15_openai_compatible_gateway.py of its software-agent-sdk.
"""

import os
import re
import sys
from pathlib import Path

import pytest

from tests.cli.processes import Process, is_alive
from tests.fakes.system import System

pytestmark = pytest.mark.redis
ROOT = Path(__file__).parents[2]
PROGRAM = os.environ.get("OPENHANDS_EXAMPLE") or str(
    Path(__file__).with_name("openhands_gateway.py")
)
UUID = r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"


@pytest.mark.parametrize("keys", [{}, {"OH_SESSION_API_KEYS_0": "preset-session-key"}])
def test_the_gateway_example_runs_as_it_is(
    system: System, tmp_path: Path, keys: dict[str, str]
) -> None:
    environ = {
        "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))),
        "LLM_API_KEY": "llm-secret",
        "LLM_MODEL": "openai/words-3",
        "LLM_BASE_URL": system.upstream.base_url,
        "PORT": "0",
        **keys,
    }
    with Process(sys.executable, PROGRAM, environ=environ, cwd=tmp_path) as program:
        program.printed("openhands_gateway_demo")
        children = program.children()
        assert program.end() == 0, "".join(program.err)
    assert not any(map(is_alive, children))
    said = "".join(program.out)
    assert said.count(": w0 w1 w2") == 2
    assert len(re.findall(UUID, said)) == 1
    assert said.endswith(": 0.0\n")
    assert "Traceback" not in "".join(program.err)
    assert not any("-secret" in line for line in (*program.out, *program.err))
    first, second = system.upstream.requests()
    assert [each["headers"]["authorization"] for each in (first, second)] == [
        "Bearer llm-secret"
    ] * 2
    assert [each["model"] for each in (first, second)] == ["words-3"] * 2
    asked = first["body"]["messages"]
    assert [message["role"] for message in asked] == ["system", "user"]
    continued = second["body"]["messages"]
    assert continued[:2] == asked
    assert [message["role"] for message in continued[2:]] == ["assistant", "user"]
    assert continued[2]["content"] == "w0 w1 w2 "
