"""`serve` whose API and workers are small scripts, so that the supervisor is seen alone."""

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

from trunkline.arguments import parse
from trunkline.interrupts import Interrupts
from trunkline.plan import make_plan
from trunkline.supervisor import Supervisor
from trunkline_shared.errors import TrunklineError
from trunkline_shared.logs import configure_logging

FAKE = str(Path(__file__).with_name("fake_tier.py"))


async def supervise() -> int:
    arguments = parse(None)
    plan = make_plan(None, arguments.options, os.environ)
    configure_logging("text", "info")
    plan = replace(
        plan,
        api_command=(sys.executable, FAKE, "api", os.environ.get("FAKE_API", "good")),
        worker_command=(sys.executable, FAKE, "worker", os.environ.get("FAKE_WORKER", "good")),
    )
    with Interrupts() as interrupts:
        return await Supervisor(plan, interrupts).run()


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(supervise()))
    except TrunklineError as error:
        sys.exit(f"trunkline: {error}")
