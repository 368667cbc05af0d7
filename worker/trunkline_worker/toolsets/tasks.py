"""A list of tasks that an agent keeps for itself, and that outlives its run in a conversation."""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from trunkline_worker.toolsets.base import Invocation, ToolError, ToolSpec

_STATES: Final = {"pending": " ", "in_progress": "~", "done": "x"}
_MOST: Final = 100
_LONGEST: Final = 500
_TASK: Final = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": _LONGEST},
        "status": {"type": "string", "enum": [*_STATES]},
    },
    "required": ["title", "status"],
    "additionalProperties": False,
}


class Tasks:
    """The list lies beside the workspace's files, where commands do not reach it."""

    name = "tasks"

    async def open(self) -> None: ...

    async def tools(self) -> Sequence[ToolSpec]:
        whole = {"type": "array", "items": _TASK, "maxItems": _MOST}
        return (
            ToolSpec(
                "write_tasks",
                "Keep a list of the steps of your work: give the whole list each time, in order, "
                "with what is done and what you are at.",
                {
                    "type": "object",
                    "properties": {"tasks": whole},
                    "required": ["tasks"],
                    "additionalProperties": False,
                },
                "idempotent",  # it replaces the whole list
                in_order=True,
            ),
            ToolSpec(
                "read_tasks",
                "Return your list of tasks.",
                {"type": "object", "properties": {}, "additionalProperties": False},
                "pure",
                in_order=True,
            ),
        )

    async def call(self, name: str, arguments: Mapping[str, Any], call: Invocation) -> str:
        path = call.workspace.home / "tasks.json"
        if name == "write_tasks":
            tasks = _checked(arguments.get("tasks"))
            await asyncio.to_thread(_keep, path, tasks)
            return _shown(tasks)
        if name == "read_tasks":
            return _shown(await asyncio.to_thread(_kept, path))
        raise ToolError(f"There is no tool {name}.")

    async def aclose(self) -> None: ...


def _checked(tasks: Any) -> list[dict[str, str]]:
    if not isinstance(tasks, list) or len(tasks) > _MOST:
        raise ToolError(f"tasks is a list of at most {_MOST}.")
    for task in tasks:
        if not isinstance(task, dict) or task.get("status") not in _STATES:
            raise ToolError(f"Each task has a title and a status, one of {', '.join(_STATES)}.")
        if not isinstance(task.get("title"), str) or len(task["title"]) > _LONGEST:
            raise ToolError(f"The title of a task is a text of at most {_LONGEST} characters.")
    return [{"title": task["title"], "status": task["status"]} for task in tasks]


def _shown(tasks: Sequence[Mapping[str, str]]) -> str:
    if not tasks:
        return "The list is empty."
    return "\n".join(f"[{_STATES[task['status']]}] {task['title']}" for task in tasks)


def _keep(path: Path, tasks: Sequence[Mapping[str, str]]) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(tasks), encoding="utf-8")
    os.replace(new, path)


def _kept(path: Path) -> list[dict[str, str]]:
    try:
        tasks: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return tasks
