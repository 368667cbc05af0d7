"""Other agents of the file, each as a tool that is given a task and answers."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from trunkline_shared.config.models import AgentConfig
from trunkline_shared.config.toolsets import Agents, Effect, tool_name
from trunkline_shared.events import (
    ActivityStart,
    Failed,
    Finished,
    RefusalDelta,
    RunEvent,
    TextDelta,
)
from trunkline_shared.run import RunRequest, new_run_id
from trunkline_worker.backends.base import Asker, Backend, RunContext, Unavailable
from trunkline_worker.toolsets.base import Invocation, ToolError, ToolSpec, unlike

_PARAMETERS: Final = {
    "type": "object",
    "properties": {
        "task": {"type": "string", "description": "What to do, with all that is needed for it."}
    },
    "required": ["task"],
    "additionalProperties": False,
}


class Others(Protocol):
    """The agents that this worker can run."""

    def get(self, request: RunRequest) -> Backend:
        """Raises Unavailable."""

    def timeout_s(self, agent: str) -> float:
        """Raises KeyError for one that cannot run here."""


class Delegation:
    """An agent that is asked works in the same directory, so that files can be handed over, with
    its own prompt, tools and limits; of the conversation it sees the task alone. What it costs
    counts as the caller's, whose limits bound it too. No agent is asked twice along one chain.
    """

    def __init__(
        self, config: Agents, own: str, agents: Mapping[str, AgentConfig], others: Others
    ) -> None:
        """`own` is the agent that has this toolset, `agents` are all of the file."""
        self._config = config
        self._own = own
        self._agents = agents
        self._others = others

    @property
    def name(self) -> str:
        return "agents"

    async def open(self) -> None:
        for name in self._config.agents:
            if name not in self._agents:
                raise ValueError(f"toolset agents: there is no agent {name}")
            if name == self._own:
                raise ValueError(f"toolset agents: {name} cannot ask itself")

    async def tools(self) -> Sequence[ToolSpec]:
        """Those that the file names, whether or not they can run here; of all others those that
        can."""
        return [
            ToolSpec(tool, self._description(name), _PARAMETERS, self._effect(self._agents[name]))
            for tool, name in self._names().items()
            if self._config.agents or self._runs(name)
        ]

    async def call(self, name: str, arguments: Mapping[str, Any], call: Invocation) -> str:
        agent, task = self._names().get(name), arguments.get("task")
        if agent is None:
            raise ToolError(f"There is no agent behind {name} now.")
        if not isinstance(task, str) or not task.strip():
            raise ToolError("task: say as a text what is to be done.")
        asker = self._asker(agent, call)
        request = RunRequest(
            new_run_id(),
            agent,
            principal=call.request.principal,
            transcript=[
                {"type": "message", "role": "user", "content": [{"type": "text", "text": task}]}
            ],
        )
        try:
            backend = self._others.get(request)
            timeout_s = self._others.timeout_s(agent)
        except (Unavailable, KeyError) as error:
            raise ToolError(f"The agent {agent} cannot run now.") from error
        answer = _Answer(call.say)
        context = RunContext(call.context.gate, answer.take, asker=asker, used=call.spent)
        try:
            async with asyncio.timeout(timeout_s):
                answer.take(await backend.run(request, context))
        except Unavailable as error:
            raise ToolError(f"The agent {agent} cannot run now.") from error
        except TimeoutError as error:
            if answer.cut("limits.timeout_s reached"):
                return answer.of(agent, call)
            raise ToolError(f"The agent {agent} took longer than {timeout_s:g} s.") from error
        return answer.of(agent, call)

    async def aclose(self) -> None:
        """The agents are the worker's to close."""

    def _names(self) -> dict[str, str]:
        """The agents by their tools' names; a program may add agents at any time."""
        names: dict[str, str] = {}
        for agent in self._config.agents or self._agents:
            if agent != self._own:
                names[unlike(names, tool_name(f"ask_{agent}"))] = agent
        return names

    def _runs(self, name: str) -> bool:
        try:
            self._others.timeout_s(name)
        except KeyError:
            return False
        return True

    def _description(self, name: str) -> str:
        about = self._agents[name].description or ""
        return (
            f"Gives the agent {name} a task and returns its answer. {about}\n"
            "It sees nothing of this conversation, but works in the same directory."
        )

    def _effect(self, agent: AgentConfig) -> Effect:
        does_nothing = agent.type in ("chat", "echo") and not agent.toolsets
        return self._config.effect or ("pure" if does_nothing else "at_most_once")

    def _asker(self, agent: str, call: Invocation) -> Asker:
        """Raises ToolError where the chain may go no further."""
        before = call.context.asker
        chain = (*before.chain, self._own) if before else (self._own,)
        if agent in chain:
            raise ToolError(f"The agent {agent} waits for this answer, and cannot be asked.")
        depth_left = self._config.max_depth
        if before is not None:
            depth_left = min(depth_left, before.depth_left)
        if depth_left < 1:
            raise ToolError("No further agent may be asked: answer with what there is.")
        return Asker(chain, call.workspace, call.left(), depth_left - 1)


class _Answer:
    """What an agent says, shown while it says it. The answer is what it says after its last call
    of a tool."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._text: list[str] = []
        self._end: Finished | Failed | None = None

    def take(self, events: Sequence[RunEvent]) -> None:
        said: list[str] = []
        for event in events:
            match event:
                case TextDelta(text) | RefusalDelta(text):
                    said.append(text)
                    self._text.append(text)
                case ActivityStart():
                    self._text.clear()
                case Finished() | Failed():
                    self._end = event
        if said:
            self._say("".join(said))

    def cut(self, detail: str) -> bool:
        """Ends it here, its usage told already; False where nothing was said."""
        self._end = Finished("length", detail=detail)
        return bool(self._text)

    def of(self, agent: str, call: Invocation) -> str:
        """Raises ToolError where the agent failed. Its usage is told in any case."""
        assert self._end is not None  # every backend promises it
        if self._end.usage is not None:
            call.spent(self._end.usage)
        if isinstance(self._end, Failed):
            raise ToolError(f"The agent {agent} failed: {self._end.message}")
        text = "".join(self._text)
        if self._end.reason == "stop":
            return text
        note = f"\n[cut short: {self._end.detail or self._end.reason}]"
        self._say(note)
        return text + note
