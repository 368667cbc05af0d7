"""Stands in for `trunkline api` and `trunkline worker`: TIER BEHAVIOUR --parent-pipe FD."""

import os
import signal
import socket
import subprocess
import sys
import time
from types import FrameType
from typing import NoReturn

import redis

from trunkline.parent_pipe import end_with_parent
from trunkline_shared.keys import Keys


def main() -> int:
    tier, behaviour, _, pipe = sys.argv[1:]
    end_with_parent(int(pipe))
    if behaviour == "refuses":
        print("trunkline: said why", file=sys.stderr)
        return 2
    if behaviour == "crashes":
        return 3
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *args: leave(tier, *args))
    if behaviour == "has-tool":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "a-tool"])
    if tier == "worker":
        announce()
        wait()
    with socket.create_server(("127.0.0.1", int(os.environ["TRUNKLINE_PORT"]))):
        wait()


def wait() -> NoReturn:
    while True:
        signal.pause()


def announce() -> None:
    with redis.Redis.from_url(os.environ["TRUNKLINE_REDIS_URL"]) as client:
        for pool in os.environ["TRUNKLINE_POOL"].split(","):
            client.zadd(Keys().workers(pool), {f"fake-{os.getpid()}": time.time() * 1000})


def leave(tier: str, number: int, frame: FrameType | None) -> None:
    with redis.Redis.from_url(os.environ["TRUNKLINE_REDIS_URL"]) as client:
        client.rpush("order", tier)  # fails when Redis went first
    os.write(2, f"{tier} left\n".encode())  # in one write: others leave at the same time
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
