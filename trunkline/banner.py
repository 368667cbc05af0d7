"""What `serve` prints when it is open."""

import json
import shlex
from collections.abc import Mapping

from trunkline_shared.config.readiness import Readiness

PROMPT = "Hello there, say this word by word."


def banner(url: str, models: Mapping[str, Readiness], *, keys: bool) -> str:
    """Base URL, models with what they lack, and a curl line to paste for one that can run.

    With `keys` the line needs $TRUNKLINE_API_KEY.
    """
    shown = [
        name if readiness.runnable else f"{name} ({readiness.missing[0]})"
        for name, readiness in models.items()
    ]
    lines = [f"Trunkline serves {url}/v1", f"models: {', '.join(shown)}"]
    runnable = [name for name, readiness in models.items() if readiness.runnable]
    if runnable:
        lines.append("try it, with one of your keys in TRUNKLINE_API_KEY:" if keys else "try it:")
        lines.append(f"  {curl(url, runnable[0], keys=keys)}")
    return "\n".join(lines)


def curl(url: str, model: str, *, keys: bool) -> str:
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
    words = ["curl -N", shlex.quote(f"{url}/v1/chat/completions")]
    if keys:
        words.append('-H "Authorization: Bearer ${TRUNKLINE_API_KEY%%,*}"')  # may be a list
    words.append("-H 'Content-Type: application/json'")
    words.append(f"-d {shlex.quote(json.dumps(body))}")
    return " ".join(words)
