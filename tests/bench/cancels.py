"""Responses in the background that are cancelled while others run: how soon it is over."""

import http.client
import json
import math
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from statistics import median
from typing import Any

from tests.bench.case import Scale
from tests.bench.measure import Figures, until
from tests.bench.spec import PROMPT
from tests.bench.system import KEY, System, streams

_LOOK_S = 0.0005
_MOST_S = 10.0


def cancels(system: System, upstream_port: int, scale: Scale) -> Figures:
    """Milliseconds from a cancel to its reply, and until the upstream's stream is closed too."""
    replied: list[float] = []
    over: list[float] = []
    bad = 0
    with closing(http.client.HTTPConnection("127.0.0.1", system.port)) as http_:
        running = deque(_begin(http_, scale.endless_model) for _ in range(scale.cancel_among))
        for _ in range(scale.cancels):
            until(lambda: streams(upstream_port) == scale.cancel_among, 60)
            begun = time.perf_counter()
            told = _ask(http_, f"/{running.popleft()}/cancel")
            replied.append(1e3 * (time.perf_counter() - begun))
            while streams(upstream_port) == scale.cancel_among:
                assert time.perf_counter() - begun < _MOST_S, "the upstream is not left alone"
                time.sleep(_LOOK_S)
            over.append(1e3 * (time.perf_counter() - begun))
            bad += told["status"] != "cancelled"
            running.append(_begin(http_, scale.endless_model))
        for response in running:
            _ask(http_, f"/{response}/cancel")
    figures = {"reply": replied, "over": over}
    told_ms = {f"{name}_p50_ms": median(ms) for name, ms in figures.items()}
    told_ms |= {f"{name}_p99_ms": _p99(ms) for name, ms in figures.items()}
    return {**told_ms, "bad": float(bad)}


def _begin(http_: http.client.HTTPConnection, model: str) -> str:
    body = {"model": model, "input": PROMPT, "background": True}
    return str(_ask(http_, "", body)["id"])


def _ask(http_: http.client.HTTPConnection, path: str, body: Any = None) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    http_.request("POST", f"/v1/responses{path}", json.dumps(body or {}), headers)
    reply = http_.getresponse()
    value: dict[str, Any] = json.loads(reply.read())
    if reply.status != 200:
        raise SystemExit(f"a response was refused: {value}")
    return value


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]
