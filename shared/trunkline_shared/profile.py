"""Profiles: LLMs that are saved at run time through the API, each a model `openhands_<name>`."""

import re
from typing import Final

import orjson
from pydantic import ValidationError

from trunkline_shared.config.models import AgentConfig, Config, Limits
from trunkline_shared.errors import ConfigError, TrunklineError
from trunkline_shared.llm import Llm
from trunkline_shared.vault import Unreadable, Vault

MODEL_PREFIX: Final = "openhands_"
PROFILE_AGENT: Final = "openhands_*"
"""The agent that runs all profiles, as the queue and the workers know it."""

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_RECORD_VERSION: Final = 1
_CODING_TIMEOUT_S: Final = 3600.0
_CODING_REQUESTS: Final = 200
_CODING_PROMPT: Final = """\
You are a software engineer with a workspace of your own: its files, a shell in it, and a list \
of tasks. Do what you are asked there rather than describe it. Look at what there is before you \
change it, keep changes small, and run what you changed. Keep the list of tasks for work of \
several steps. When you are done, say in a few sentences what you did and what you could not do.\
"""


class NoSecretKey(TrunklineError):
    """A profile with secrets cannot be kept: this process has no secret key to seal it with."""


def is_profile_name(name: str) -> bool:
    return re.fullmatch(NAME_PATTERN, name) is not None and not name.endswith("\n")


def seal_llm(llm: Llm, vault: Vault) -> str:
    """A profile as Redis may see it; in clear only where there is nothing to hide.

    Raises NoSecretKey.
    """
    if llm.has_secrets and not vault.has_key:
        raise NoSecretKey(
            "secrets are not stored in clear: set TRUNKLINE_SECRET_KEY, the same for API and "
            "workers, or save the profile with include_secrets false"
        )
    values = {"v": _RECORD_VERSION, "llm": llm.model_dump(exclude_unset=True)}
    return vault.seal(orjson.dumps(values)).decode()


def open_llm(sealed: str, vault: Vault) -> Llm:
    """What `seal_llm` was given. Raises Unreadable."""
    try:
        values = orjson.loads(vault.open(sealed.encode()))
        if values["v"] != _RECORD_VERSION:
            raise Unreadable(f"the profile was saved by another version ({values['v']!r})")
        return Llm.model_validate(values["llm"])
    except (ValueError, KeyError, TypeError, ValidationError):
        # Without the cause, which may quote what was sealed.
        raise Unreadable("the profile's record is damaged; save it again") from None


def profile_agent(config: Config) -> AgentConfig:
    """The agent that runs profiles: the one that `profiles.agent` names, without its models, a
    coding agent for `profiles.coding`, else a plain one. Raises ConfigError for a name that is
    none of an agent."""
    named = config.profiles.agent
    if config.profiles.coding:
        return AgentConfig(
            name=PROFILE_AGENT,
            model=("openai:profile",),
            system_prompt=(_CODING_PROMPT,),
            toolsets=tuple({"type": kind} for kind in ("file_access", "execution", "tasks")),
            limits=Limits(timeout_s=_CODING_TIMEOUT_S, max_requests=_CODING_REQUESTS),
        )
    if named is None:
        return AgentConfig(name=PROFILE_AGENT, model=("openai:profile",))
    if named not in config.agents:
        raise ConfigError(f"{config.path}: profiles.agent names {named!r}, which is no agent here")
    without_model = {"name": PROFILE_AGENT, "model": (), "base_url": None, "api_key": None}
    return config.agents[named].model_copy(update=without_model)
