"""From an agent to its backend in the agent lane. Whoever imports this waits for pydantic-ai."""

from collections.abc import Sequence

from trunkline_shared.config.models import AgentConfig
from trunkline_worker.agent_lane.backend import AgentBackend
from trunkline_worker.agent_lane.chain import make_chain
from trunkline_worker.backends.lane import Calling
from trunkline_worker.models import ModelSpec
from trunkline_worker.sandbox.workspace import Workspaces
from trunkline_worker.toolsets.base import Toolset


def build_lane(
    agent: AgentConfig,
    models: Sequence[ModelSpec],
    toolsets: Sequence[Toolset],
    workspaces: Workspaces,
    calling: Calling,
) -> AgentBackend:
    """Imports what the models need. Raises ValueError."""
    chain = make_chain(
        agent,
        models,
        calling.client,
        calling.prices,
        retry=calling.retry,
        connect_timeout_s=calling.connect_timeout_s,
        silence_timeout_s=calling.silence_timeout_s,
    )
    return AgentBackend(agent, chain, toolsets, workspaces)
