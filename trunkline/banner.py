"""What `serve` prints when it is open."""

import json
import shlex
from collections.abc import Mapping

from trunkline.plan import is_callers_key
from trunkline_api.settings import ApiSettings
from trunkline_shared.config.readiness import Readiness

PROMPT = "Hello there, say this word by word."


def key_variable(api: ApiSettings, environ: Mapping[str, str]) -> str | None:
    """Where the printed line may find a key; None where it needs none."""
    if api.api_key or api.api_key_file:
        return "TRUNKLINE_API_KEY"
    if not api.session_api_key:
        return None
    first = api.session_api_key[0]
    holding = [n for n, v in environ.items() if is_callers_key(n) and v.split(",")[0] == first]
    return min(holding, default="TRUNKLINE_API_KEY")  # a list in JSON holds it otherwise


def banner(url: str, models: Mapping[str, Readiness], variable: str | None) -> str:
    """Base URL, models, what those lack that cannot run, and a curl line to paste for one that can.

    With `variable` the line needs a key in it.
    """
    runnable = [name for name, readiness in models.items() if readiness.runnable]
    lines = [f"Trunkline serves {url}/v1", f"models: {', '.join(runnable) or 'none can run here'}"]
    lacking = [(name, each.missing[0]) for name, each in models.items() if not each.runnable]
    lines += [f"  {name} cannot run here: {reason}" for name, reason in lacking]
    if runnable:
        lines.append(f"try it, with one of your keys in {variable}:" if variable else "try it:")
        lines.append(f"  {curl(url, runnable[0], variable)}")
    return "\n".join(lines)


def curl(url: str, model: str, variable: str | None) -> str:
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
    words = ["curl -N", shlex.quote(f"{url}/v1/chat/completions")]
    if variable:
        words.append(f'-H "Authorization: Bearer ${{{variable}%%,*}}"')  # may be a list
    words.append("-H 'Content-Type: application/json'")
    words.append(f"-d {shlex.quote(json.dumps(body))}")
    return " ".join(words)
