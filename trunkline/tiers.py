"""`trunkline api` and `trunkline worker`: one process of one tier."""

import asyncio
import gc
import resource
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvloop

from trunkline.settings import is_given
from trunkline_shared.config.load import load_config
from trunkline_shared.errors import StartError
from trunkline_shared.logs import configure_logging
from trunkline_shared.owned import end_process_when_broken

ENOUGH_FILES = 1 << 20


def run_tier(
    command: str, config_path: Path, options: Mapping[str, Any], environ: Mapping[str, str]
) -> int:
    """Run `api` or `worker` until it is told to stop. Raises StartError if it cannot start."""
    run = _api if command == "api" else _worker
    return run(config_path, options, environ)


def _api(config_path: Path, options: Mapping[str, Any], environ: Mapping[str, str]) -> int:
    with _installed("api"):
        from trunkline_api.api import run_api
        from trunkline_api.settings import ApiSettings

    settings = ApiSettings.from_environ(environ, **options)
    configure_logging(settings.log_format, settings.log_level)
    config = load_config(config_path, environ)
    explicit = is_given("host", options, environ)
    return _run(run_api(settings, config, host_explicit=explicit))


def _worker(config_path: Path, options: Mapping[str, Any], environ: Mapping[str, str]) -> int:
    with _installed("worker"):
        from trunkline_worker.settings import WorkerSettings
        from trunkline_worker.worker import run_worker

    settings = WorkerSettings.from_environ(environ, **options)
    configure_logging(settings.log_format, settings.log_level)
    config = load_config(config_path, environ)
    return _run(run_worker(settings, config, environ))


@contextmanager
def _installed(extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("trunkline"):
            raise
        raise StartError(
            f"`trunkline {extra}` needs {error.name}: pip install 'trunkline[{extra}]'"
        ) from error


def _run(tier: Coroutine[Any, Any, None]) -> int:
    raise_file_limit()
    # What is imported stays; with thousands of streams alive, collecting often costs delay only.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        end_process_when_broken(runner.get_loop())
        runner.run(tier)
    return 0


def raise_file_limit() -> None:
    """Every stream is a file; many systems allow 1,024 until asked for more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, ENOUGH_FILES)
    with suppress(ValueError, OSError):  # macOS has a lower limit that it does not tell
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
