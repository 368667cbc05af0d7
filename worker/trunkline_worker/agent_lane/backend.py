"""Agents with tools, and all whose model speaks another way than the direct lane does."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from trunkline_shared.config.models import AgentConfig
from trunkline_shared.events import Failed, RunEvent
from trunkline_shared.run import RunRequest
from trunkline_worker.agent_lane.answering import Answering
from trunkline_worker.agent_lane.chain import LaneChain
from trunkline_worker.agent_lane.counting import count
from trunkline_worker.agent_lane.journal import Journal
from trunkline_worker.agent_lane.loop import Loop
from trunkline_worker.agent_lane.own_tools import OwnTools
from trunkline_worker.backends.base import RunContext
from trunkline_worker.backends.formats import unusable
from trunkline_worker.sandbox.workspace import Workspaces
from trunkline_worker.toolsets.base import Toolset, open_all


class AgentBackend:
    """Shares its toolsets and its chain among all runs of one agent."""

    def __init__(
        self,
        agent: AgentConfig,
        chain: LaneChain,
        toolsets: Sequence[Toolset],
        workspaces: Workspaces,
    ) -> None:
        self._agent = agent
        self._chain = chain
        self._toolsets = toolsets
        self._workspaces = workspaces
        self._opened = AsyncExitStack()

    async def open(self) -> None:
        """Raises ValueError or TrunklineError where a toolset cannot work here."""
        await self._chain.open()
        self._opened = await open_all(self._toolsets)

    async def run(self, request: RunRequest, context: RunContext) -> Sequence[RunEvent]:
        tools = await OwnTools.find(() if request.purpose == "summary" else self._toolsets)
        names = [tool["name"] for tool in request.tools]
        if (clash := next((name for name in names if name in tools), None)) is not None:
            message = f"tools: the agent has a tool {clash!r} of its own; give yours another name."
            return [Failed("invalid_request", message, param="tools")]
        profile = self._chain.profile
        taken = {*names, *tools.names}
        try:
            given = self._agent.structured_output
            answering = await Answering.of(request, given, profile, taken)
        except ValueError as error:
            return [unusable(error)]
        prompt = self._agent.system_prompt
        if request.purpose == "count":
            return [await count(self._chain, tools, answering, request, context, prompt)]
        try:
            journal = Journal(context)
        except ValueError as error:
            return [Failed("worker_lost", f"The run cannot be continued: {error}.")]
        loop = Loop(
            self._chain, tools, answering, self._workspaces, request, context, journal, prompt
        )
        return await loop.run()

    async def aclose(self) -> None:
        """Closes the toolsets that `open` opened, and what the models hold."""
        try:
            await self._opened.aclose()
        finally:
            await self._chain.aclose()
