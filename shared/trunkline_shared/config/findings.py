"""What reading an agent's keys brings up that is no error."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TypeAlias

from trunkline_shared.config.models import Ignored
from trunkline_shared.config.source import Source

Where: TypeAlias = tuple[str | int, ...]


@dataclass(slots=True)
class Findings:
    """`lacks` are sentences that say why the agent does not run, `agents` the names of all."""

    source: Source
    agents: Collection[str] = ()
    ignored: list[Ignored] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)

    def ignore(self, where: Where, reason: str) -> None:
        place = f"{self.source.file(where)}:{self.source.line(where)}"
        self.ignored.append(Ignored(key=self.source.dotted(where), place=place, reason=reason))

    def lack(self, key: str, reason: str) -> None:
        self.lacks.append(f"{key} has no equal in this version: {reason}")
