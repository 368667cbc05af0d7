"""From an agent of type `claude_code` to its backend."""

from collections.abc import Mapping

from trunkline_shared.config.interpolate import interpolate_tree
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.config.toolsets import resolve_toolsets
from trunkline_worker.backends.http_client import HttpClient
from trunkline_worker.backends.retry import Retry
from trunkline_worker.claude_code.backend import ClaudeCodeBackend
from trunkline_worker.claude_code.door import Behind
from trunkline_worker.claude_code.grants import granted
from trunkline_worker.claude_code.sessions import Sessions
from trunkline_worker.models import resolve_models
from trunkline_worker.prices import Prices
from trunkline_worker.sandbox.walls import Sandboxes
from trunkline_worker.sandbox.workspace import Workspaces
from trunkline_worker.settings import WorkerSettings


def build_claude_code(
    agent: AgentConfig,
    environ: Mapping[str, str],
    settings: WorkerSettings,
    client: HttpClient,
    prices: Prices,
    *,
    sessions: Sessions,
    workspaces: Workspaces,
    sandboxes: Sandboxes,
) -> ClaudeCodeBackend:
    """Raises ConfigError where something is missing, ValueError for what it cannot have."""
    own = agent.claude_code.env if agent.claude_code else {}
    return ClaudeCodeBackend(
        agent,
        granted(resolve_toolsets(agent, environ), interpolate_tree(own, environ)),
        [
            Behind.of(
                spec,
                client,
                connect_timeout_s=settings.connect_timeout_s,
                silence_timeout_s=settings.silence_timeout_s,
            )
            for spec in resolve_models(agent, environ)
        ],
        retry=Retry(settings.upstream_retries),
        prices=prices,
        sessions=sessions,
        workspaces=workspaces,
        sandboxes=sandboxes,
    )
