"""The toolsets that run here, as values. What each key means is its field's docstring."""

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

Effect: TypeAlias = Literal["pure", "idempotent", "at_most_once"]
"""What may be done again where a worker died in the middle: anything, anything with the same
arguments, nothing."""

_Seconds: TypeAlias = Annotated[float, Field(gt=0, le=86_400)]


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
    transport: Literal["stdio", "streamable-http", "sse"] | None = None
    command: str | None = None
    args: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict, repr=False)
    url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    tools: tuple[str, ...] | None = None
    """Only these; None: all that the server has."""
    effect: Effect = "at_most_once"
    timeout_s: _Seconds = 60.0
    """Of one call."""

    @model_validator(mode="after")
    def _one_way(self) -> "Mcp":
        if bool(self.command) == bool(self.url):
            raise ValueError("an mcp toolset needs either a command or a url")
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


class Agents(_Toolset):
    """Other agents of the file, each as a tool that is given a task and answers."""

    type: Literal["agents"] = "agents"
    agents: tuple[str, ...] = ()
    """Their names; none: all others."""
    max_depth: Annotated[int, Field(ge=1, le=8)] = 2
    """How far delegation may go; 1: those who are asked cannot ask others."""


ToolsetConfig: TypeAlias = FileAccess | ExecutionTools | Tasks | Mcp | Import | Agents
_ADAPTER: Final[TypeAdapter[ToolsetConfig]] = TypeAdapter(
    Annotated[ToolsetConfig, Field(discriminator="type")]
)
RUNNABLE: Final = ("file_access", "execution", "tasks", "mcp", "import", "agents")
"""The types that `parse_toolset` knows."""


def parse_toolset(values: dict[str, Any]) -> ToolsetConfig:
    """Raises pydantic's ValidationError."""
    return _ADAPTER.validate_python(values)


def tool_name(text: str) -> str:
    """`text` as a name that every provider takes for a tool."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)[:64]
