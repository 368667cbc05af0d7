"""How often a run asks Redis: by MONITOR, which tells clients' commands from those of scripts."""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from tests.bench.measure import Figures
from trunkline_shared.keys import Keys
from trunkline_shared.scripts import Scripts
from trunkline_shared.settings import CommonSettings

# What processes ask all the time, run or no run, and what this asks itself.
PERIODIC = frozenset({"renew", "sweep", "publish", "pubsub", "ping", "pexpire", "info", "echo"})
WRITES = "append"
_END = "bench: the end of what is watched"
_LINE = re.compile(r'[\d.]+ \[\d+ (?P<who>[^\]]*)\] "(?P<command>[^"]*)"(?: "(?P<first>[^"]*)")?')


@contextmanager
def watched(client: redis.Redis) -> Iterator[Counter[str]]:
    """Counts each command that any client sends meanwhile; scripts by their names."""
    counts: Counter[str] = Counter()
    connection = client.connection_pool.get_connection()
    watcher = threading.Thread(target=_watch, args=(connection, counts))
    try:
        connection.send_command("MONITOR")
        connection.read_response()
        watcher.start()
        try:
            yield counts
        finally:
            client.echo(_END)
            watcher.join()
    finally:
        connection.disconnect()
        client.connection_pool.release(connection)


def per_run(counts: Counter[str], runs: float) -> Figures:
    """`trips`: commands a run but for `writes`, those of its tokens; by kind: `trips.<name>`."""
    asked = {name: number / runs for name, number in counts.items() if name not in PERIODIC}
    figures = {f"trips.{name}": share for name, share in asked.items()}
    writes = asked.pop(WRITES, 0.0)
    return {**figures, "trips": sum(asked.values()), "writes": writes}


def _watch(connection: redis.Connection, counts: Counter[str]) -> None:
    shas = Scripts.build(Keys(), CommonSettings()).shas
    scripts = {sha: name for name, sha in shas.items()}
    while True:
        line = connection.read_response().decode(errors="replace")
        said = _LINE.match(line)
        if said is None or said["who"] == "lua":
            continue
        if said["first"] == _END:
            return
        command = said["command"].lower()
        counts[scripts.get(said["first"], command) if command == "evalsha" else command] += 1
