"""What the SDK is told for one run. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from trunkline_shared.config.models import AgentConfig, ClaudeCode
from trunkline_shared.run import RunRequest
from trunkline_shared.transcript import Format
from trunkline_worker.claude_code.grants import Grants
from trunkline_worker.claude_code.lodging import Lodging
from trunkline_worker.claude_code.prompt import instructions
from trunkline_worker.models import ModelSpec

_LINE_BYTES: Final = 64 * 1024 * 1024  # of what the command line says at once
_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
_QUIET: Final = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_AUTOUPDATER": "1",
    # What is given up is given up by the door, which says why; nothing is asked twice.
    "CLAUDE_CODE_MAX_RETRIES": "0",
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_REFUSAL_RETRY": "1",
    # Nothing that one run left behind speaks in another.
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_DISABLE_CLAUDE_MDS": "1",
    "IS_SANDBOX": "1",
}


def variables(
    grants: Grants,
    spec: ModelSpec,
    lodging: Lodging,
    door: Mapping[str, str],
    max_tokens: int | None,
) -> dict[str, str]:
    """All that the command line has as its environment, the SDK's own three apart; `door` says how
    it finds its model."""
    given = {
        **grants.variables,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(lodging.home),
        "CLAUDE_CONFIG_DIR": str(lodging.config),
        "ANTHROPIC_SMALL_FAST_MODEL": spec.name,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": spec.name,
        **door,
        **_QUIET,
    }
    if max_tokens is not None:
        given["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(max_tokens)
    return given


def options(
    agent: AgentConfig,
    request: RunRequest,
    grants: Grants,
    spec: ModelSpec,
    lodging: Lodging,
    workspace: str,
) -> dict[str, Any]:
    """Keywords of ClaudeAgentOptions, but for what binds it to the run: session, store, hooks."""
    own = agent.claude_code or ClaudeCode()
    budget = own.max_thinking_tokens
    effort = spec.settings.get("reasoning_effort")
    told = "\n\n".join(filter(None, [*agent.system_prompt, *instructions(request.transcript)]))
    # Its own prompt is about its tools.
    preset = own.include_builtin_system_prompt and bool(grants.allowed)
    return {
        "model": spec.name,
        "system_prompt": _appended(told) if preset else told,
        "tools": list(grants.tools),
        "allowed_tools": list(grants.allowed),
        "disallowed_tools": list(grants.denied),
        "permission_mode": "dontAsk",  # what is not allowed is denied
        "mcp_servers": grants.servers,
        "strict_mcp_config": True,
        "setting_sources": [],
        "include_partial_messages": True,
        "verbatim_prompts": True,  # no file is read because a prompt has an @ in it
        "cwd": workspace,
        "cli_path": str(lodging.program),
        "env": {"CLAUDE_CONFIG_DIR": str(lodging.config)},
        "max_buffer_size": _LINE_BYTES,
        "output_format": output_format(request.format),
        "effort": effort if effort in _EFFORTS else None,
        "thinking": {"type": "enabled", "budget_tokens": budget} if budget else None,
    }


def output_format(format: Format | None) -> dict[str, Any] | None:
    """None: free text."""
    if format is None or format["type"] == "text":
        return None
    schema: Mapping[str, Any] = format.get("schema") or {"type": "object"}
    return {"type": "json_schema", "schema": dict(schema)}


def _appended(text: str) -> dict[str, str]:
    preset = {"type": "preset", "preset": "claude_code"}
    return {**preset, "append": text} if text else preset
