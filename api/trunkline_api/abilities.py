"""What a request asks of an agent, against what the agent can do. What it cannot is refused."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from trunkline_api.errors import ApiError, invalid
from trunkline_shared.config.capabilities import Capabilities, capabilities
from trunkline_shared.config.models import AgentConfig

Asked: TypeAlias = Iterable[tuple[str, str]]
"""A capability, or the neutral name of an option, and the member of the request that asks it."""

_ALL: Final = Capabilities()
_SAMPLING: Final = frozenset(
    {
        "temperature",
        "top_p",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
    }
)
# Who sends a model's own default asks for nothing.
_DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "logit_bias": {}}
)
_CANNOT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tools": "does not take tools of its callers",
        "formats": "does not answer in a format",
        "logprobs": "gives no log probabilities",
        "images": "does not take images",
        "files": "does not take files",
        "audio": "does not take audio",
    }
)


class Abilities:
    """What each agent can do, found out once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[AgentConfig, Capabilities | None]] = {}  # None: all there is

    def check(self, agent: AgentConfig, model: str, asks: Callable[[], Asked]) -> None:
        """Raises ApiError 400 for the first thing that is too much for the agent."""
        known = self._known.get(agent.name)
        if known is None or known[0] is not agent:
            can = capabilities(agent)
            known = self._known[agent.name] = (agent, None if can == _ALL else can)
        if known[1] is not None:
            for what, param in asks():
                if not _does(known[1], what):
                    raise _refusal(model, what, param)


def options(given: Mapping[str, Any]) -> Iterable[str]:
    """Those of a request's options that ask for something."""
    return (
        name
        for name, value in given.items()
        if value is not None and _DEFAULTS.get(name, None) != value
    )


def _does(can: Capabilities, what: str) -> bool:
    if what in _CANNOT:
        return bool(getattr(can, what))
    return what not in can.refused and (can.sampling or what not in _SAMPLING)


def _refusal(model: str, what: str, param: str) -> ApiError:
    cannot = _CANNOT.get(what, f"does not take '{param}'")
    message = f"The model {model!r} {cannot}: leave out '{param}', or ask another model."
    return invalid(param, message, "unsupported_parameter")
