"""What a configuration file says together with the files it inherits, and where each value stands.

`INHERIT: base.yml`, or a list of such, puts the file over others: mappings are merged key by key,
lists are appended, anything else replaces what was below. Of a list, later files lie higher.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trunkline_shared.config.document import Document, Where
from trunkline_shared.errors import ConfigError

_Place = tuple[Document, tuple[str | int, ...]]


class Source:
    """The values of a file, or given ones, over those of the files that they inherit.

    Raises ConfigError where one of them cannot be read.
    """

    def __init__(self, given: Path | Mapping[str, Any], heirs: tuple[Path, ...] = ()) -> None:
        document = Document(given)
        self.path = document.path
        self.values: Any = document.values
        self._written: dict[tuple[str | int, ...], _Place] = {(): (document, ())}
        if isinstance(self.values, dict) and "INHERIT" in self.values:
            parents = _parents(document, self.values.pop("INHERIT"))
            if isinstance(given, Path):
                heirs = (*heirs, given.resolve())
            for parent in reversed(parents):
                below = Source(_checked(document, parent, heirs), heirs)
                self.values = self._over(below, below.values, self.values, ())

    def moved(self, to: Where, origin: Where) -> None:
        """Errors of `to` are from now on said of what stands at `origin`."""
        self._written[tuple(to)] = self._place(origin)

    def line(self, where: Where) -> int:
        document, found = self._place(where)
        return document.line(found)

    def file(self, where: Where) -> str:
        """The path of the file that says `where`."""
        return self._place(where)[0].path

    def dotted(self, where: Where) -> str:
        """`where` as its author wrote it."""
        return self._place(where)[0].dotted(self._place(where)[1])

    def error(self, where: Where, reason: str, named: Where | None = None) -> ConfigError:
        """The error, one line, of the value `where`; `named` is what to call it if not that."""
        document, found = self._place(where)
        return document.error(found, reason, None if named is None else self._place(named)[1])

    def _place(self, where: Where) -> _Place:
        parts = tuple(where)
        length = next(n for n in range(len(parts), -1, -1) if parts[:n] in self._written)
        document, found = self._written[parts[:length]]
        return document, (*found, *parts[length:])

    def _over(self, below: "Source", low: Any, high: Any, where: tuple[str | int, ...]) -> Any:
        if isinstance(low, dict) and isinstance(high, dict):
            for key in low.keys() - high.keys():
                self._adopt(below, (*where, key))
            both = {
                key: self._over(below, low[key], high[key], (*where, key))
                for key in low.keys() & high.keys()
            }
            return {**low, **high, **both}
        if isinstance(low, list) and isinstance(high, list):
            for index in reversed(range(len(high))):
                self.moved((*where, index + len(low)), (*where, index))
            for index in range(len(low)):
                self._adopt(below, (*where, index))
            return low + high
        return high

    def _adopt(self, below: "Source", where: tuple[str | int, ...]) -> None:
        inside = {w: p for w, p in below._written.items() if w[: len(where)] == where}
        self._written.update({**inside, where: below._place(where)})


def _parents(document: Document, given: Any) -> list[str]:
    parents = given if isinstance(given, list) else [given]
    for parent in parents:
        if not isinstance(parent, str):
            raise document.error(
                ("INHERIT",), "expected the path of a YAML file, or a list of such"
            )
        if "://" in parent:
            raise document.error(
                ("INHERIT",), f"{parent!r} is not a local file; keep a copy beside this one"
            )
    return parents


def _checked(document: Document, parent: str, heirs: tuple[Path, ...]) -> Path:
    path = Path(document.path).parent / parent
    if not path.is_file():
        raise document.error(("INHERIT",), f"no such file: {path}")
    if path.resolve() in heirs:
        raise document.error(("INHERIT",), f"{parent} inherits this file in turn")
    return path


def inherited(source: Source, agents: Mapping[Any, Any], name: str) -> dict[str, Any]:
    """The keys of an agent over those of the agent that its `inherits` names.

    Raises ConfigError for an unknown parent and for a cycle.
    """
    values, line = dict(agents[name]), [name]
    while (parent := values.pop("inherits", None)) is not None:
        where = ("agents", line[-1], "inherits")
        if not (isinstance(parent, str) and isinstance(agents.get(parent), dict)):
            raise source.error(where, f"there is no agent {parent!r} in this file")
        if parent in line:
            raise source.error(where, f"a cycle: {' -> '.join([*line, parent])}")
        line.append(parent)
        for key in agents[parent].keys() - values.keys() - {"inherits"}:
            source.moved(("agents", name, key), ("agents", parent, key))
        values = {**agents[parent], **values}
    return values
