"""The backend of agents of type `claude_code`."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from trunkline_shared.config.models import AgentConfig
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.events import RunEvent
from trunkline_shared.run import RunRequest
from trunkline_worker.backends.base import Budget, RunContext, Unavailable
from trunkline_worker.backends.counting import estimated
from trunkline_worker.backends.limits import bounded, output_limit
from trunkline_worker.backends.retry import Retry
from trunkline_worker.claude_code.allowance import Allowance
from trunkline_worker.claude_code.course import Course, Plan
from trunkline_worker.claude_code.door import Behind, Door
from trunkline_worker.claude_code.grants import Grants
from trunkline_worker.claude_code.lodging import Lodging, lodging
from trunkline_worker.claude_code.options import options, output_format, variables
from trunkline_worker.claude_code.progress import Entry, Progress
from trunkline_worker.claude_code.prompt import digest, known, prompt
from trunkline_worker.claude_code.resuming import closed_calls, go_on
from trunkline_worker.claude_code.sessions import Sessions, Taken
from trunkline_worker.claude_code.store import RunStore
from trunkline_worker.prices import Prices
from trunkline_worker.sandbox.walls import Sandboxes
from trunkline_worker.sandbox.workspace import Workspace, Workspaces

logger = logging.getLogger("trunkline.claude_code")


@dataclass(frozen=True, slots=True)
class Before:
    """What the conversation's session has before this run: so many items of the transcript."""

    session: str | None = None
    entries: list[Entry] = field(default_factory=list)
    known: int = 0


class ClaudeCodeBackend:
    """Runs each run in a process of its own, and keeps sessions where every worker finds them."""

    def __init__(
        self,
        agent: AgentConfig,
        grants: Grants,
        models: Sequence[Behind],
        *,
        retry: Retry,
        prices: Prices,
        sessions: Sessions,
        workspaces: Workspaces,
        sandboxes: Sandboxes,
    ) -> None:
        self._agent = agent
        self._grants = grants
        self._models = models
        self._retry = retry
        self._prices = prices
        self._sessions = sessions
        self._workspaces = workspaces
        self._sandboxes = sandboxes
        self._sdk: Any = None

    async def open(self) -> None:
        """Imports the SDK, which takes seconds. Raises Unavailable without it, or without walls."""
        try:
            self._sdk = await asyncio.to_thread(import_module, "claude_agent_sdk")
        except ImportError as error:
            raise Unavailable('It needs: pip install "trunkline[claude]".') from error
        # It reports as an error that a process was killed, which is how runs are cut short.
        logging.getLogger("claude_agent_sdk").setLevel(logging.CRITICAL)
        self._cli = Path(self._sdk.__file__).parent / "_bundled" / "claude"
        for model in self._models:
            self._prices.load(model.spec)
        self._sandbox = await self._sandboxes.find(self._agent.sandbox)

    async def run(self, request: RunRequest, context: RunContext) -> Sequence[RunEvent]:
        if request.purpose == "count":
            return [estimated(request, self._agent)]
        progress = Progress.of(context.journal)
        before = await self._before(request)
        if progress.finished is None:
            async with (
                self._workspace(request, context) as workspace,
                lodging(self._sandbox, workspace) as place,
            ):
                events = await self._go(request, context, progress, before, place)
            if progress.finished is None:
                return events
        await self._keep(request, before, progress)
        return [progress.finished]

    async def aclose(self) -> None:
        """Nothing outlives a run."""

    @asynccontextmanager
    async def _workspace(
        self, request: RunRequest, context: RunContext
    ) -> AsyncIterator[Workspace]:
        if context.asker is not None:
            yield context.asker.workspace
            return
        async with self._workspaces.open(request) as workspace:
            yield workspace

    async def _go(
        self,
        request: RunRequest,
        context: RunContext,
        progress: Progress,
        before: Before,
        place: Lodging,
    ) -> list[RunEvent]:
        agent, sdk = self._agent, self._sdk
        grants = self._grants.none() if request.purpose == "summary" else self._grants
        spec = self._models[0].spec
        limit = output_limit(request.options, spec.settings, agent.limits)
        budget = context.asker.budget if context.asker else Budget()
        course = Course(
            context,
            progress,
            grants,
            Allowance(bounded(agent.limits, request), limit, budget, self._prices),
            limit,
            spec=spec,
            in_format=output_format(request.format) is not None,
            kill=place.kill,
        )
        for entry, events in closed_calls(progress):
            await context.record(entry, events)
        plan, entries = _plan(request, progress, before)
        cwd = str(place.workspace.path)
        if plan.session is not None:
            project = sdk.project_key_for_directory(cwd)
            await asyncio.to_thread(place.recall, plan.session, project, entries)
        given = sdk.ClaudeAgentOptions(
            **options(agent, request, grants, spec, place, cwd),
            resume=plan.session,
            session_id=None if plan.session else str(uuid.uuid4()),
            session_store=RunStore(course.keep),
            session_store_flush="eager",
            hooks={"PreToolUse": [sdk.HookMatcher(hooks=[course.before_tool])]},
            stderr=course.complains,
        )
        door = Door(place, self._models, self._retry, admit=course.admit, failed=course.failed)
        await door.open()
        try:
            environ = variables(grants, spec, place, door.variables, limit.sent)
            place.furnish(self._cli, environ, network=grants.network, port=door.port)
            return await course.run(sdk, given, plan)
        finally:
            await door.aclose()

    async def _before(self, request: RunRequest) -> Before:
        if not request.conversation:
            return Before()
        try:
            taken = await self._sessions.load(request.conversation)
        except RedisUnavailable as error:
            logger.warning("run %s begins without its session: %s", request.run_id, error)
            return Before()
        taken = [each for each in taken if each.run_id != request.run_id]
        if not taken or taken[-1].agent != self._agent.name:
            return Before()
        count = known(request.transcript, taken[-1].covers)
        if count is None:
            return Before()
        entries = [entry for each in taken for entry in each.entries]
        return Before(taken[-1].session, entries, count)

    async def _keep(self, request: RunRequest, before: Before, progress: Progress) -> None:
        if not request.conversation:
            return
        covers = digest(request.transcript, progress.text)
        taken = Taken(request.run_id, self._agent.name, progress.session, covers, progress.entries)
        try:
            await self._sessions.save(request.conversation, taken, new=before.session is None)
        except RedisUnavailable as error:
            logger.warning("the session of run %s is lost: %s", request.run_id, error)


def _plan(request: RunRequest, progress: Progress, before: Before) -> tuple[Plan, Sequence[Entry]]:
    """How to begin, and the record of the session that is to be resumed."""
    new = prompt(request.transcript[before.known :])
    if progress.steps and progress.resumable:
        return Plan(go_on(progress, []), progress.session), [*before.entries, *progress.entries]
    progress.restart()
    return Plan(go_on(progress, new) if progress.steps else new, before.session), before.entries
