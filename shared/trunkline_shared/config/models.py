"""The configuration file as values. Frozen; what each key means is its field's docstring."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, ValidationInfo, field_validator, model_validator

from trunkline_shared.config.frozen import Frozen, Number, Whole
from trunkline_shared.config.interpolate import holds_variable
from trunkline_shared.config.providers import check_provider, split_model

AgentType = Literal["chat", "echo", "claude_code", "acp", "agui", "codex", "openhands", "python"]
SandboxKind: TypeAlias = Literal["auto", "bwrap", "landlock", "none"]
DEFAULT_POOL = "default"
ECHO_MODELS = ("echo", "test")
FIXED_ANSWER = "test:"
"""Before the text that an echo agent is to answer with."""


class Limits(Frozen):
    """Bounds of one run. None means unbounded."""

    timeout_s: Annotated[Number, Field(gt=0)] = 600.0
    """From the first attempt on, over all attempts."""
    max_tokens: Annotated[Whole, Field(gt=0)] | None = None
    """Output tokens; a caller may ask for less, never for more."""
    max_cost: Annotated[Number, Field(gt=0)] | None = None
    """US dollars; enforced where the model's price is known."""
    max_tool_calls: Annotated[Whole, Field(ge=0)] | None = None
    """Of the agent's own tools."""
    max_requests: Annotated[Whole, Field(gt=0)] | None = 50
    """How often the model is asked."""
    max_total_tokens: Annotated[Whole, Field(gt=0)] | None = None
    """Input and output of all requests."""


class EchoSettings(Frozen):
    """What the `echo` agent says, and how fast."""

    words_per_second: Annotated[Number, Field(ge=0)] = 20.0
    """0 means all at once."""
    words: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = None
    """Answer with exactly so many words, repeating the prompt's; None: the prompt once."""
    text: str | None = None
    """Said in place of the prompt, whatever that is."""


class ClaudeCode(Frozen):
    """What only an agent of type `claude_code` has."""

    env: dict[str, str] = Field(default_factory=dict, repr=False)
    """Variables for it and the commands that it runs; `${VAR}` in them is still unresolved."""
    max_thinking_tokens: Annotated[Whole, Field(gt=0)] | None = None
    include_builtin_system_prompt: bool = True
    """Whether its own prompt stands before the agent's."""


class ModelSettings(Frozen):
    """Defaults for what a caller may set; None leaves it to the model."""

    temperature: Annotated[Number, Field(ge=0)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[Whole, Field(gt=0)] | None = None
    """Output tokens when the caller names no number; a bound for every caller is in `limits`."""
    stop: tuple[str, ...] | None = None
    seed: Whole | None = None
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    logit_bias: dict[str, Number] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    parallel_tool_calls: bool | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    """Under which name the provider is told the limit of output; None: as it wants it."""
    extra_headers: dict[str, str] | None = None
    """Sent with every request to the provider."""
    extra_body: dict[str, Any] | None = None
    """Merged into the body of every request to the provider, over everything else."""

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class AgentConfig(Frozen):
    """One agent. `${VAR}` in `model`, `base_url`, `api_key`, `settings` and `toolsets` is still
    unresolved."""

    name: str
    type: AgentType = "chat"
    base_url: str | None = None
    api_key: str | None = Field(default=None, repr=False)
    model: Annotated[tuple[str, ...], Field(validate_default=True)] = ()
    """A fallback chain, first choice first; a text with a variable may hold several, by comma.
    Stands behind what its validator looks at."""
    system_prompt: tuple[str, ...] = ()
    description: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict, repr=False)
    """`ModelSettings`, whose values may be unresolved texts."""
    echo: EchoSettings = EchoSettings()
    pool: Annotated[str, Field(pattern=r"\A[A-Za-z0-9_-]{1,64}\z")] = DEFAULT_POOL
    given_slots: Annotated[Whole, Field(ge=1)] | None = Field(default=None, alias="slots")
    limits: Limits = Limits()
    toolsets: tuple[dict[str, Any], ...] = Field(default=(), repr=False)
    """Each a `ToolsetConfig`, whose values may be unresolved texts."""
    claude_code: Annotated[ClaudeCode | None, Field(validate_default=True)] = None
    """For an agent of that type never None."""
    object: Annotated[str | None, Field(validate_default=True)] = None
    """What a `python` agent runs: `package.module:name`."""
    api: Literal["chat", "responses"] = "chat"
    """Which of OpenAI's APIs a provider is asked through that has both."""
    structured_output: Literal["auto", "native", "tool", "prompted"] = "auto"
    """How the model is brought to answer in a format; auto: as the model can."""
    sandbox: SandboxKind = "auto"
    """What walls its tools in; auto: what works here, but never none."""
    lacks: tuple[str, ...] = ()
    """Why the agent cannot run, where the file asks for what this version has not."""

    @property
    def slots(self) -> int:
        """Of a worker's; a coding agent with a process of its own weighs as much as 16 chats."""
        return self.given_slots or (16 if self.type == "claude_code" else 1)

    @model_validator(mode="before")
    @classmethod
    def _spellings(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = dict(values)
        if values.get("type") == "native":
            values["type"] = "chat"
        if values.get("model") in ECHO_MODELS and values.get("type", "chat") == "chat":
            values["type"] = "echo"
        return values

    @field_validator("name")
    @classmethod
    def _speakable(cls, name: str) -> str:
        if not name or re.search(r"[\s\x00-\x1f\x7f-\x9f]", name):
            raise ValueError("a name is not empty and has no spaces or control characters")
        return name

    @field_validator("model", mode="before")
    @classmethod
    def _chain(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return split_chain(value) if not holds_variable(value) else (value,)

    @field_validator("model")
    @classmethod
    def _known_providers(cls, models: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        kind = info.data.get("type")
        if kind == "claude_code":
            models = tuple(map(claude_model, models))
        if kind in ("chat", "claude_code"):
            if not models and kind == "chat":
                raise ValueError("is missing; for example openai:gpt-4o-mini, or echo")
            url, key = info.data.get("base_url"), info.data.get("api_key")
            check_chain([m for m in models if not holds_variable(m)], url=url, key=key)
        return models

    @field_validator("system_prompt", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("base_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value and not holds_variable(value):
            check_url(value)
        return value

    @field_validator("settings")
    @classmethod
    def _known_settings(cls, values: dict[str, Any]) -> dict[str, Any]:
        ModelSettings.model_validate(
            {key: None if holds_variable(value) else value for key, value in values.items()}
        )
        return values

    @field_validator("claude_code")
    @classmethod
    def _only_for_claude(cls, value: ClaudeCode | None, info: ValidationInfo) -> ClaudeCode | None:
        of_type = info.data.get("type") == "claude_code"
        if value and not of_type:
            raise ValueError("only type claude_code has it")
        return value or (ClaudeCode() if of_type else None)

    @field_validator("object")
    @classmethod
    def _only_for_python(cls, value: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("type")
        if kind == "python" and not value:
            raise ValueError("type python needs one, for example mypackage.graphs:graph")
        if value and kind != "python":
            raise ValueError("only type python has one")
        if value and not re.fullmatch(r"[\w.]+:[\w.]+", value):
            raise ValueError(f"an object is package.module:name, got {value!r}")
        return value


class Profiles(Frozen):
    """How the models of profiles, `openhands_<profile>`, run."""

    agent: str | None = None
    """The chat agent of this file that runs them; None: a plain one."""
    coding: bool = False
    """Whether the plain one has a workspace, a shell and a list of tasks."""

    @model_validator(mode="after")
    def _one_of_them(self) -> "Profiles":
        if self.agent and self.coding:
            raise ValueError("agent and coding exclude each other: give the agent toolsets")
        return self


class Ignored(Frozen):
    """A key of the file that has no effect, the file and line it stands on, and why."""

    key: str
    place: str
    reason: str


class Config(Frozen):
    """A whole file: agents by name, in the file's order."""

    path: str
    agents: dict[str, AgentConfig]
    profiles: Profiles = Profiles()
    ignored: tuple[Ignored, ...] = ()

    @property
    def pools(self) -> tuple[str, ...]:
        """Those that the agents name; without any agent the default one."""
        named = dict.fromkeys(agent.pool for agent in self.agents.values())
        return tuple(named) or (DEFAULT_POOL,)


def claude_model(model: str) -> str:
    """A model of a `claude_code` agent, which may be named without its provider."""
    plain = not re.search(r"[:/]", model) and not holds_variable(model)
    return f"anthropic:{model}" if plain else model


def split_chain(models: str) -> tuple[str, ...]:
    """The models of a comma list."""
    return tuple(model.strip() for model in models.split(",") if model.strip())


def check_chain(models: Sequence[str], *, url: str | None, key: str | None) -> None:
    """Raises ValueError unless every model names a provider that is known or that `url` explains.

    An agent's `url` and `key` serve one provider: its key must not reach another's server.
    """
    providers = []
    for model in models:
        if model in ECHO_MODELS or model.startswith(FIXED_ANSWER):
            raise ValueError(f"{model!r} stands alone, not in a fallback chain")
        provider, _ = split_model(model)
        check_provider(provider, url)
        providers.append(provider)
    if (url or key) and len(set(providers)) > 1:
        raise ValueError(
            f"base_url and api_key go with one provider, not with {', '.join(providers)}"
        )


def check_url(url: str) -> None:
    """Raises ValueError unless `url` is an HTTP URL."""
    if not re.match(r"https?://[^/\s]+", url):
        raise ValueError("a URL begins with http:// or https://")
