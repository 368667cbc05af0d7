"""The configuration file as values. Frozen; what each key means is its field's docstring."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

AgentType = Literal["chat", "echo", "claude_code", "acp", "openhands", "python"]
DEFAULT_POOL = "default"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Model):
    """Bounds of one run. None means unbounded."""

    timeout_s: Annotated[float, Field(gt=0)] = 600.0
    """From the first attempt on, over all attempts."""
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    """Output tokens; a caller may ask for less, never for more."""
    max_cost: Annotated[float, Field(gt=0)] | None = None
    """US dollars; enforced where the model's price is known."""
    max_tool_calls: Annotated[int, Field(ge=0)] | None = None


class EchoSettings(_Model):
    """What the `echo` agent says, and how fast."""

    words_per_second: Annotated[float, Field(ge=0)] = 20.0
    """0 means all at once."""
    words: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Answer with exactly so many words, repeating the prompt's; None: the prompt once."""


class AgentConfig(_Model):
    """One agent. `${VAR}` in `model`, `base_url`, `api_key` and `settings` is still unresolved."""

    name: str
    type: AgentType = "chat"
    model: tuple[str, ...] = ()
    """A fallback chain, first choice first."""
    base_url: str | None = None
    api_key: str | None = Field(default=None, repr=False)
    system_prompt: tuple[str, ...] = ()
    description: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    """Defaults for what a caller may set: temperature, max_tokens, ..."""
    echo: EchoSettings = EchoSettings()
    pool: str = DEFAULT_POOL
    slots: Annotated[int, Field(ge=1)] = 1
    limits: Limits = Limits()
    toolsets: tuple[dict[str, Any], ...] = ()
    object: str | None = None


class Config(_Model):
    """A whole file: agents by name, in the file's order."""

    path: str
    agents: dict[str, AgentConfig]

    @property
    def pools(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(agent.pool for agent in self.agents.values()))
