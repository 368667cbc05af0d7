"""An agent as AgentPool spells it, in the keys that `AgentConfig` has.

All of this works on plain values and tells the source what came from where, so that an error
names the line and the key that its author wrote.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from trunkline_shared.config import agentpool
from trunkline_shared.config.complaint import unknown_key
from trunkline_shared.config.findings import Findings, Where
from trunkline_shared.config.model_spellings import spell_model

_TOOLS = ("toolsets", "tools", "mcp_servers", "workers")
_Limits: TypeAlias = dict[str, tuple[Any, Where]]  # each with where it stands
_PROMPTS = {"static": ("content",), "file": ("path",)}
_PROMPT = "a system_prompt is a text, {type: static, content: ...} or {type: file, path: ...}"
_NO_PROMPTS = {
    "library": "there is no prompt library; write the text here, or {type: file, path: ...}",
    "function": "no code runs when the file is read; write the text here",
}


def without_ignored(
    values: Mapping[str, Any], where: Where, findings: Findings, servers: Sequence[Any]
) -> dict[str, Any]:
    """The keys that say how the agent answers; what becomes of the others is in `findings`.

    `servers` are the MCP servers of all agents.
    """
    kind = values.get("type")
    of_type = agentpool.OF_TYPES.get(kind, ()) if isinstance(kind, str) else ()
    tools = _has_tools(values, servers)
    kept = {}
    for key, value in values.items():
        if key in of_type:
            continue
        ignored, cannot = _dealt_with(key, value, tools)
        if not (ignored or cannot):
            kept[key] = value
        elif value in (None, [], {}):
            continue
        elif ignored:
            findings.ignore((*where, key), ignored)
        elif cannot:
            findings.lack(key, cannot)
    return kept


def _has_tools(values: Mapping[str, Any], servers: Sequence[Any]) -> bool:
    return bool(servers) or any(values.get(key) for key in _TOOLS)


def _dealt_with(key: str, value: Any, tools: bool) -> tuple[str | None, str | None]:
    """Why the key is ignored, or why an agent cannot run with it."""
    reason = agentpool.FOR_TOOLS.get(key)
    if reason and tools and value not in ("never", "per_tool"):
        return None, reason
    if reason:
        return "only tools heed it" if not tools else reason, None
    return agentpool.IGNORED.get(key), agentpool.CANNOT.get(key)


def spelled(given: Mapping[str, Any], where: Where, findings: Findings) -> dict[str, Any]:
    """`given` in our keys, but for what gives it tools. Raises ConfigError for what cannot be said
    so."""
    values = dict(given)
    spell_model(values, where, findings)
    _spell_description(values, where, findings)
    _spell_prompts(values, where, findings)
    _spell_claude(values, where, findings)
    _spell_limits(values, where, findings)
    return values


def _spell_claude(values: dict[str, Any], where: Where, findings: Findings) -> None:
    if values.get("type") != "claude_code":
        return
    given = {key: values.pop(key) for key in agentpool.CLAUDE_KEYS if key in values}
    kept = {key: v for key, v in given.items() if not _noted(key, v, (*where, key), findings)}
    if fallback := kept.pop("fallback_model", None):
        models = values.get("model") or []
        values["model"] = [*(models if isinstance(models, list) else [models]), fallback]
    limits: _Limits = {
        ours: (kept.pop(theirs), (*where, theirs))
        for theirs, ours in agentpool.CLAUDE_LIMITS.items()
        if theirs in kept
    }
    _add_limits(values, limits, where, findings)
    own = values.get("claude_code") or {}
    if kept and isinstance(own, dict):  # else it is refused later
        for key in kept.keys() - own.keys():
            findings.source.moved((*where, "claude_code", key), (*where, key))
        values["claude_code"] = {**kept, **own}


def _noted(key: str, value: Any, where: Where, findings: Findings) -> bool:
    """Whether the key says nothing, or what it says is now in `findings`."""
    if value in (None, [], {}):
        return True
    if key in agentpool.CLAUDE_CANNOT:
        findings.lack(key, agentpool.CLAUDE_CANNOT[key])
    elif value == "plan":
        findings.lack("permission_mode: plan", "an agent does what it plans")
    elif key in agentpool.CLAUDE_IGNORED:
        findings.ignore(where, agentpool.CLAUDE_IGNORED[key])
    else:
        return False
    return True


def _spell_description(values: dict[str, Any], where: Where, findings: Findings) -> None:
    name = values.pop("display_name", None)
    if name is None:
        return
    if "description" in values:
        findings.ignore((*where, "display_name"), "clients see the description")
    else:
        values["description"] = name
        findings.source.moved((*where, "description"), (*where, "display_name"))


def _spell_prompts(values: dict[str, Any], where: Where, findings: Findings) -> None:
    prompt, at = values.get("system_prompt"), (*where, "system_prompt")
    if isinstance(prompt, dict):
        values["system_prompt"] = [_prompt(prompt, at, findings)]
    elif isinstance(prompt, list):
        values["system_prompt"] = [
            _prompt(item, (*at, index), findings) if isinstance(item, dict) else item
            for index, item in enumerate(prompt)
        ]


def _prompt(prompt: dict[str, Any], where: Where, findings: Findings) -> Any:
    kind, error = str(prompt.get("type")), findings.source.error
    if kind in _NO_PROMPTS:
        raise error(where, f"a system_prompt of type {kind}: {_NO_PROMPTS[kind]}")
    if kind not in _PROMPTS:
        raise error(where, _PROMPT)
    if prompt.get("variables"):
        raise error((*where, "variables"), "files are read as they are; write the values into it")
    known = ("type", "category", "variables", *_PROMPTS[kind])
    for key in prompt:
        if key not in known:
            raise error((*where, key), unknown_key(key, known), named=where)
    (key,) = _PROMPTS[kind]
    if not isinstance(prompt.get(key), str):
        raise error((*where, key), f"a system_prompt of type {kind} needs a text as {key!r}")
    return prompt["content"] if kind == "static" else _file(prompt["path"], (*where, key), findings)


def _file(path: str, where: Where, findings: Findings) -> str:
    beside = Path(findings.source.file(where)).parent
    try:
        return (beside / path).read_text("utf-8")
    except OSError as error:
        reason = error.strerror
    except ValueError:  # UnicodeDecodeError, or a NUL in the path
        reason = "not UTF-8 text"
    raise findings.source.error(where, f"{beside / path}: {reason}")


def _spell_limits(values: dict[str, Any], where: Where, findings: Findings) -> None:
    at = (*where, "usage_limits")
    given = values.pop("usage_limits", None)
    if given is not None and not isinstance(given, dict):
        raise findings.source.error(at, "expected a mapping of keys to values")
    limits: _Limits = {}
    for key, value in (given or {}).items():
        if key not in agentpool.LIMITS:
            _note_limit(key, value, (*at, key), findings)
        elif value is not None:
            limits[agentpool.LIMITS[key]] = value, (*at, key)
    _add_limits(values, limits, where, findings)


def _add_limits(values: dict[str, Any], found: _Limits, where: Where, findings: Findings) -> None:
    own = values.get("limits") or {}
    if not found or not isinstance(own, dict):  # the latter is refused later
        return
    for key in found.keys() - own.keys():
        findings.source.moved((*where, "limits", key), found[key][1])
    values["limits"] = {**{key: value for key, (value, _) in found.items()}, **own}


def _note_limit(key: str, value: Any, where: Where, findings: Findings) -> None:
    known = (*agentpool.LIMITS, *agentpool.LIMITS_CANNOT, *agentpool.LIMITS_IGNORED)
    if key not in known:
        raise findings.source.error(where, unknown_key(key, known), named=where[:-1])
    if value is None:
        return
    if key in agentpool.LIMITS_CANNOT:
        findings.lack(f"usage_limits.{key}", agentpool.LIMITS_CANNOT[key])
    else:
        findings.ignore(where, agentpool.LIMITS_IGNORED[key])
