"""What figures were measured on."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from tests.fakes.redis_server import binary_for_tests

_VERSIONS = ("redis", "hiredis", "uvicorn", "uvloop", "httptools", "aiohttp", "fastapi", "orjson")


def machine() -> dict[str, str]:
    """The machine, what else it had to do, and the versions of what runs."""
    server = [binary_for_tests(), "--version"]
    version = subprocess.run(server, capture_output=True, text=True, check=True)
    load_1, load_5, _ = os.getloadavg()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _said("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": _said("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "load": f"{load_1:.1f} {load_5:.1f}",
        "python": platform.python_version(),
        "server": version.stdout.split(" sha=")[0].strip(),
        **{name: importlib.metadata.version(name) for name in _VERSIONS},
    }


def _said(file: str, name: str) -> str:
    lines = (line.partition(":") for line in Path(file).read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")
