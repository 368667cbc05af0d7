"""The Node clients: `node --test` in `node/`, against a system of its own."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import API_KEY
from tests.fakes.system import System

HERE = Path(__file__).parent / "node"

pytestmark = pytest.mark.node


@pytest.mark.timeout(600)
@pytest.mark.parametrize("script", sorted(HERE.glob("*.test.mjs")), ids=lambda path: path.name)
def test_node_clients_work(system: System, script: Path) -> None:
    assert (HERE / "node_modules").is_dir(), f"run `npm ci` in {HERE} first"
    environ = {
        **os.environ,
        "BASE_URL": system.base_url(),
        "API_KEY": API_KEY,
        "UPSTREAM_URL": system.upstream.base_url,
        "NO_PROXY": "127.0.0.1",
    }
    ran = subprocess.run(
        ["node", "--test", "--test-reporter=spec", script.name],
        cwd=HERE,
        env=environ,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
