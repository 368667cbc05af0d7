"""A YAML file as plain values, with the line that each of them stands on; or values without one."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from trunkline_shared.errors import ConfigError

Where: TypeAlias = Sequence[str | int]
"""Keys and indexes from the top of the document down to a value."""


class _Loader(yaml.SafeLoader):
    """A SafeLoader that refuses what would silently lose or repeat a part of the file."""

    def check(self, node: yaml.Node) -> None:
        self._check(node, inside=set(), done=set())

    def _check(self, node: yaml.Node, inside: set[int], done: set[int]) -> None:
        if id(node) in inside:
            raise yaml.MarkedYAMLError(problem="an alias to itself", problem_mark=node.start_mark)
        if isinstance(node, yaml.ScalarNode):
            _check_text(node)
        if id(node) in done or not isinstance(node, yaml.CollectionNode):
            return
        inside.add(id(node))
        if isinstance(node, yaml.MappingNode):
            self._check_keys(node)
        for item in node.value:
            self._check(item[1] if isinstance(item, tuple) else item, inside, done)
        inside.remove(id(node))
        done.add(id(node))

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen: set[Hashable] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a key that is not a text", problem_mark=key.start_mark
                )
            _check_text(key)
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem=f"a second key {key.value!r} in one mapping",
                    problem_mark=key.start_mark,
                )
            seen.add(key.value)


class Document:
    """The values of one YAML file, or such values themselves, which then stand on no line.

    Raises ConfigError where the file cannot be read, or a given text cannot be written.
    """

    def __init__(self, source: Path | Mapping[str, Any]) -> None:
        self._root: yaml.Node | None = None
        self.path = str(source) if isinstance(source, Path) else ""
        self.values: Any = (
            self._read(source) if isinstance(source, Path) else self._plain(source, ())
        )

    def _read(self, path: Path) -> Any:
        loader = _Loader(self._text(path))
        try:
            self._root = loader.get_single_node()
            if self._root is not None:
                loader.check(self._root)
            return loader.construct_document(self._root) if self._root else None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            reason = " ".join((error.problem or error.context or "").split())
            raise ConfigError(f"{self.path}:{line}: not valid YAML: {reason}") from None
        except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2025-02-31
            raise ConfigError(f"{self.path}: not valid YAML: {_one_line(error)}") from None
        except RecursionError:
            raise ConfigError(f"{self.path}: nested too deeply") from None
        finally:
            loader.dispose()

    def _text(self, path: Path) -> str:
        try:
            text = path.read_text("utf-8")
            yaml.reader.Reader(text)  # refuses what YAML does not allow anywhere, such as NUL
        except FileNotFoundError:
            raise ConfigError(f"{self.path}: no such file") from None
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise ConfigError(f"{self.path}:{line}: not UTF-8 text") from None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise ConfigError(f"{self.path}:{line}: a character that YAML forbids") from None
        return text

    def _plain(self, value: Any, where: tuple[Any, ...]) -> Any:
        """What YAML would have made of the same, as far as lists, mappings and texts go."""
        if isinstance(value, Mapping):
            for key in value:
                self._check_writable(key, (*where, key))
            return {key: self._plain(item, (*where, key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(item, (*where, i)) for i, item in enumerate(value)]
        self._check_writable(value, where)
        return value

    def _check_writable(self, value: Any, where: Where) -> None:
        if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise self.error(where, "half of a surrogate pair")

    def line(self, where: Where) -> int:
        """The line of the key or item `where`, or of the nearest thing around it."""
        node, line = self._root, 1
        for part in where:
            if isinstance(node, yaml.MappingNode):
                # from the back: a merge (`<<`) puts what it brings in front of the own keys
                found = next((p for p in reversed(node.value) if p[0].value == str(part)), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
                node = node.value[part]
                line = node.start_mark.line + 1
            else:
                break
        return line

    def dotted(self, where: Where) -> str:
        """`where` in one text, whatever its keys hold."""
        return ".".join(part if part.isprintable() else repr(part) for part in map(str, where))

    def error(self, where: Where, reason: str, named: Where | None = None) -> ConfigError:
        """The error, one line, of the value `where`; `named` is what to call it if not that."""
        dotted = self.dotted(where if named is None else named)
        prefix = f"{dotted}: " if dotted else ""
        place = f"{self.path}:{self.line(where)}: " if self.path else ""
        return ConfigError(f"{place}{prefix}{reason}")


def _check_text(node: yaml.ScalarNode) -> None:
    try:
        node.value.encode()
    except UnicodeEncodeError:  # "\\ud83d": what YAML decodes, and nobody can write again
        raise yaml.MarkedYAMLError(
            problem="half of a surrogate pair", problem_mark=node.start_mark
        ) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
