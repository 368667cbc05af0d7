"""The toolsets that run here, as values. What each key means is its field's docstring."""

import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from trunkline_shared.config.complaint import wrong_value
from trunkline_shared.config.interpolate import holds_variable, interpolate_tree
from trunkline_shared.config.models import AgentConfig, check_url

Effect: TypeAlias = Literal["pure", "idempotent", "at_most_once"]
"""What may be done again where a worker died in the middle: anything, anything with the same
arguments, nothing."""

_Seconds: TypeAlias = Annotated[float, Field(gt=0, le=86_400)]


def _transport(value: Any) -> Any:
    """Other programs that know MCP servers call it so."""
    return "streamable-http" if value in ("http", "streamable_http") else value


class _Toolset(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FileAccess(_Toolset):
    """List, read, search, write and edit files of the run's workspace."""

    type: Literal["file_access"] = "file_access"
    read_only: bool = False


class ExecutionTools(_Toolset):
    """Shell commands in the run's workspace, in its sandbox."""

    type: Literal["execution"] = "execution"
    effect: Effect = "at_most_once"
    network: bool = False
    """Whether commands reach the network."""
    timeout_s: _Seconds = 120.0
    """Of one command; one that is to go on longer is begun in the background."""
    env: dict[str, str] = Field(default_factory=dict, repr=False)
    """Variables for the commands, which see none of the worker's own."""
    readable: tuple[Annotated[str, Field(pattern=r"\A/")], ...] = ()
    """Directories beyond the system's programs that commands may read; absolute paths."""
    max_processes: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Of one command, threads included."""
    max_memory_mb: Annotated[int, Field(ge=16, le=1_048_576)] = 4096
    """Of one process."""


class Tasks(_Toolset):
    """A list of tasks that the agent keeps for itself."""

    type: Literal["tasks"] = "tasks"


class Mcp(_Toolset):
    """The tools of an MCP server: a command that speaks on its standard streams, or a URL."""

    type: Literal["mcp"] = "mcp"
    name: str | None = None
    """What clients see the tools under; None: the command, or the URL's host."""
    transport: Annotated[
        Literal["stdio", "streamable-http", "sse"] | None, BeforeValidator(_transport)
    ] = None
    """How a URL speaks; None: streamable-http."""
    command: str | None = None
    """Without `args` it may hold them, as in a shell."""
    args: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict, repr=False)
    """Variables for the command, beside PATH, HOME and the like: it sees no other of ours."""
    cwd: str | None = None
    """Where the command starts; None: where the worker did."""
    url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    tools: tuple[str, ...] | None = Field(
        default=None, validation_alias=AliasChoices("tools", "enabled_tools", "allowed_tools")
    )
    """Only these; None: all that the server has."""
    disabled_tools: tuple[str, ...] = ()
    """Not these."""
    prefix: str = ""
    """Stands before each tool's name."""
    effect: Effect | None = None
    """None: what the server says of each tool, or at_most_once where it says nothing."""
    timeout_s: _Seconds = Field(default=60.0, validation_alias=AliasChoices("timeout_s", "timeout"))
    """Of one call."""

    @property
    def words(self) -> list[str]:
        """The command with its arguments; none for a URL."""
        command = self.command or ""
        return [command, *self.args] if self.args else shlex.split(command)

    @field_validator("url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value and not holds_variable(value):
            check_url(value)
        return value

    @model_validator(mode="after")
    def _one_way(self) -> "Mcp":
        if bool(self.command) == bool(self.url):
            raise ValueError("an mcp toolset needs either a command or a url")
        try:
            self.words  # noqa: B018  # for what it raises
        except ValueError as error:
            raise ValueError(f"the command cannot be read as a shell would: {error}") from None
        if self.transport and (self.transport == "stdio") != bool(self.command):
            raise ValueError(
                f"transport {self.transport} needs a {'url' if self.command else 'command'}"
            )
        return self


class Import(_Toolset):
    """A Python function of the operator's, as one tool."""

    type: Literal["import"] = "import"
    import_path: str
    """`package.module:function`."""
    name: str | None = None
    description: str | None = None
    effect: Effect = "at_most_once"
    timeout_s: _Seconds = 60.0

    @field_validator("import_path")
    @classmethod
    def _a_path(cls, value: str) -> str:
        if not holds_variable(value) and not re.fullmatch(r"[\w.]+:[\w.]+", value):
            raise ValueError(f"a function is package.module:function, got {value!r}")
        return value


class Agents(_Toolset):
    """Other agents of the file, each as a tool that is given a task and answers."""

    type: Literal["agents"] = "agents"
    agents: tuple[str, ...] = ()
    """Their names; none: all others."""
    effect: Effect | None = None
    """None: those without tools of their own may be asked again, the others at_most_once."""
    max_depth: Annotated[int, Field(ge=1, le=8)] = 2
    """How far delegation may go; 1: those who are asked cannot ask others."""


ToolsetConfig: TypeAlias = FileAccess | ExecutionTools | Tasks | Mcp | Import | Agents
MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "file_access": FileAccess,
    "execution": ExecutionTools,
    "tasks": Tasks,
    "mcp": Mcp,
    "import": Import,
    "agents": Agents,
}
"""By their types, those that run here."""
ALONE: Final = ("file_access", "execution", "tasks", "agents")
"""The types of which an agent has one."""
_ADAPTER: Final[TypeAdapter[ToolsetConfig]] = TypeAdapter(
    Annotated[ToolsetConfig, Field(discriminator="type")]
)


def parse_toolset(values: dict[str, Any]) -> ToolsetConfig:
    """Raises pydantic's ValidationError."""
    return _ADAPTER.validate_python(values)


def keys_of(kind: str) -> list[str]:
    """What a toolset of this type may have beside its type."""
    fields = MODELS[kind].model_fields.items()
    others = (field.validation_alias for _, field in fields)
    aliases = [key for each in others if isinstance(each, AliasChoices) for key in each.choices]
    return [
        key for key in dict.fromkeys([*(n for n, _ in fields), *map(str, aliases)]) if key != "type"
    ]


def resolve_toolsets(agent: AgentConfig, environ: Mapping[str, str]) -> list[ToolsetConfig]:
    """An agent's toolsets as `environ` has them, in their order. Raises ValueError, one line, where
    a variable is missing or a value is wrong."""
    return [_resolved(i, values, environ) for i, values in enumerate(agent.toolsets)]


def _resolved(index: int, values: dict[str, Any], environ: Mapping[str, str]) -> ToolsetConfig:
    kind = values["type"]
    try:
        return parse_toolset(interpolate_tree(values, environ))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, (f"toolsets.{index}", *first["loc"][1:])))
        raise ValueError(f"{where}: {wrong_value(first)}") from None
    except ValueError as error:  # a missing variable
        raise ValueError(f"toolset {kind}: {error}") from None


def tool_name(text: str) -> str:
    """`text` as a name that every provider takes for a tool."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)[:64]
