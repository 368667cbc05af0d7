"""What `serve` prints when it is open."""

import json
import shlex
from collections.abc import Iterable

PROMPT = "Hello there, say this word by word."


def banner(url: str, models: Iterable[str], *, keys: bool) -> str:
    """Base URL, models, and a curl line to paste; with `keys` it needs $TRUNKLINE_API_KEY."""
    names = list(models)
    lines = [f"Trunkline serves {url}/v1", f"models: {', '.join(names)}"]
    if keys:
        lines.append("try it, with one of your keys in TRUNKLINE_API_KEY:")
    else:
        lines.append("try it:")
    lines.append(f"  {curl(url, names[0], keys=keys)}")
    return "\n".join(lines)


def curl(url: str, model: str, *, keys: bool) -> str:
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
    words = ["curl -N", shlex.quote(f"{url}/v1/chat/completions")]
    if keys:
        words.append('-H "Authorization: Bearer ${TRUNKLINE_API_KEY%%,*}"')  # may be a list
    words.append("-H 'Content-Type: application/json'")
    words.append(f"-d {shlex.quote(json.dumps(body))}")
    return " ".join(words)
