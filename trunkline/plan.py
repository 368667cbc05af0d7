"""What `serve` is to start, decided before anything is started."""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trunkline.settings import ServeSettings, as_environ, is_given
from trunkline_api.settings import ApiSettings
from trunkline_shared.config.interpolate import variables_in
from trunkline_shared.config.load import load_config
from trunkline_shared.config.models import AgentConfig, Config
from trunkline_shared.config.providers import PROVIDERS
from trunkline_shared.openhands_settings import is_openhands_key
from trunkline_worker.settings import WorkerSettings

BUILTIN_AGENTS = Path(__file__).with_name("builtin_agents.yml")
CALLERS_KEYS = frozenset(
    {"TRUNKLINE_API_KEY", "TRUNKLINE_API_KEY_FILE", "TRUNKLINE_SESSION_API_KEY"}
)
GRACE_AFTER_DRAIN_S = 2.0  # so that the API can still pass on what the workers say last

_SECRET = re.compile("key|token|secret|password", re.IGNORECASE)
_WEBHOOKS = ("TRUNKLINE_WEBHOOKS", "TRUNKLINE_RESPONSE_WEBHOOKS", "OH_WEBHOOKS")
CLOSING_S = 4.0  # for connections and files, after the streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Commands lack the URL of Redis, the port, and the pipe, environments the secret key; the
    supervisor adds those."""

    config: Config
    settings: ServeSettings
    api: ApiSettings
    pools: tuple[str, ...]
    data_path: Path
    search_path: str
    stop_timeout_s: float  # from the first signal until children are killed
    api_environ: Mapping[str, str] = field(repr=False)  # without any provider's key
    worker_environ: Mapping[str, str] = field(
        repr=False
    )  # without the keys of callers and webhooks
    api_command: tuple[str, ...]
    worker_command: tuple[str, ...]


def make_plan(
    config_path: Path | None, options: Mapping[str, Any], environ: Mapping[str, str]
) -> Plan:
    """Read file and settings. Raises ConfigError on the first mistake of any of the tiers."""
    settings = ServeSettings.from_environ(environ, **options)
    worker = WorkerSettings.from_environ(environ, **options)
    if not is_given("grace_s", options, environ):
        options = {**options, "grace_s": worker.drain_s + GRACE_AFTER_DRAIN_S}
    api = ApiSettings.from_environ(environ, **options)
    path = config_path or BUILTIN_AGENTS
    config = load_config(path, environ)
    pools = worker.pool if is_given("pool", options, environ) else config.pools
    data_path = settings.data_path(environ)
    ours = {"pool": pools, "workspaces": worker.workspaces or str(data_path / "workspaces")}
    children = {**environ, **as_environ({**options, **ours})}
    return Plan(
        config=config,
        settings=settings,
        api=api,
        pools=pools,
        data_path=data_path,
        search_path=environ.get("PATH", ""),
        stop_timeout_s=max(worker.drain_s, api.grace_s) + CLOSING_S,
        api_environ=_without(children, _provider_keys(config)),
        worker_environ=_without(children, filter(_is_of_the_api, children)),
        # -P: a file of the user's directory must not stand in for a module of ours.
        api_command=(sys.executable, "-P", "-m", "trunkline", "api", str(path)),
        worker_command=(sys.executable, "-P", "-m", "trunkline", "worker", str(path)),
    )


def is_callers_key(name: str) -> bool:
    """Whether a variable of this name holds keys of our callers, or says where they are."""
    return name in CALLERS_KEYS or is_openhands_key(name)


def _is_of_the_api(name: str) -> bool:
    """Webhooks have secrets in their headers."""
    return is_callers_key(name) or name.startswith(_WEBHOOKS)


def _without(environ: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    unwanted = set(names)
    return {name: value for name, value in environ.items() if name not in unwanted}


def _provider_keys(config: Config) -> frozenset[str]:
    """Variables that hold keys of providers: those they are known by, and those the file names.

    What else only workers look up counts if it is called like a secret: `${HOME}` is none.
    """
    known = {name for each in PROVIDERS.values() for name in each.api_key_variables}
    named = {name for each in config.agents.values() for name in variables_in(each.api_key or "")}
    others = {name for each in config.agents.values() for name in _of_workers(each)}
    return frozenset(known | named | set(filter(_SECRET.search, others)))


def _of_workers(agent: AgentConfig) -> set[str]:
    env = agent.claude_code.env if agent.claude_code else {}
    return variables_in([agent.settings, agent.toolsets, env])
