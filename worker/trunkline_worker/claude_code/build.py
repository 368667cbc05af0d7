"""From an agent of type `claude_code` to its backend."""

from collections.abc import Mapping

from trunkline_shared.config.interpolate import interpolate_tree
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.config.toolsets import resolve_toolsets
from trunkline_worker.backends.lane import Calling
from trunkline_worker.claude_code.backend import ClaudeCodeBackend
from trunkline_worker.claude_code.door import Behind
from trunkline_worker.claude_code.grants import granted
from trunkline_worker.claude_code.sessions import Sessions
from trunkline_worker.models import resolve_models
from trunkline_worker.toolsets.build import Workshop


def build_claude_code(
    agent: AgentConfig,
    environ: Mapping[str, str],
    workshop: Workshop,
    calling: Calling,
    sessions: Sessions,
) -> ClaudeCodeBackend:
    """Raises ConfigError where something is missing, ValueError for what it cannot have."""
    own = agent.claude_code.env if agent.claude_code else {}
    return ClaudeCodeBackend(
        agent,
        granted(resolve_toolsets(agent, environ), interpolate_tree(own, environ)),
        [
            Behind.of(
                spec,
                calling.client,
                connect_timeout_s=calling.connect_timeout_s,
                silence_timeout_s=calling.silence_timeout_s,
            )
            for spec in resolve_models(agent, environ)
        ],
        retry=calling.retry,
        prices=calling.prices,
        sessions=sessions,
        workspaces=workshop.workspaces,
        sandboxes=workshop.sandboxes,
    )
