"""`trunkline serve`: API, workers and Redis on one machine, from one command."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trunkline.interrupts import Interrupts
from trunkline.plan import Plan, make_plan
from trunkline.supervisor import Supervisor
from trunkline_shared.logs import configure_logging


def serve(config: Path | None, options: Mapping[str, Any], environ: Mapping[str, str]) -> int:
    """Serve until told to stop, and return the exit code.

    Without `config` it serves an echo agent. Raises ConfigError or StartError if it cannot start.
    """
    plan = make_plan(config, options, environ)
    configure_logging(plan.settings.log_format, plan.settings.log_level)
    return asyncio.run(_supervise(plan))


async def _supervise(plan: Plan) -> int:
    with Interrupts() as interrupts:
        return await Supervisor(plan, interrupts).run()
