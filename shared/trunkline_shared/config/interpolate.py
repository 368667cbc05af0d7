"""`${NAME}` and `${NAME:-default}` in the texts of a configuration file."""

import re
from collections.abc import Mapping
from typing import Any

_VARIABLE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")


class MissingVariable(ValueError):
    """A variable without default is not in the environment."""

    def __init__(self, variable: str) -> None:
        super().__init__(f"{variable} is not set")
        self.variable = variable


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """`text` with its variables replaced. `${NAME:-default}` takes the default if NAME is unset
    or empty, as in a shell; `$${` stands for a literal `${`.

    Raises MissingVariable, and ValueError for a `${` of another form.
    """

    def value_of(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name, default = match[1], match[2]
        if name is None:
            raise ValueError(
                "expected ${NAME} or ${NAME:-default} after '$'; '$${' stands for a literal '${'"
            )
        if default is not None:
            return environ.get(name) or default
        if name not in environ:
            raise MissingVariable(name)
        return environ[name]

    return _VARIABLE.sub(value_of, text)


def interpolate_tree(value: Any, environ: Mapping[str, str]) -> Any:
    """Like `interpolate`, for every text in nested lists and mappings; keys stay as they are."""
    if isinstance(value, str):
        return interpolate(value, environ)
    if isinstance(value, dict):
        return {key: interpolate_tree(item, environ) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [interpolate_tree(item, environ) for item in value]
    return value


def holds_variable(value: Any) -> bool:
    """Whether a text somewhere in `value` still waits for `interpolate`."""
    if isinstance(value, str):
        return "${" in value
    if isinstance(value, dict):
        return any(map(holds_variable, value.values()))
    return isinstance(value, list | tuple) and any(map(holds_variable, value))


def variables_in(value: Any) -> set[str]:
    """The names of the variables that `interpolate_tree` would look up."""
    if isinstance(value, str):
        return {match[1] for match in _VARIABLE.finditer(value) if match[1]}
    if not isinstance(value, dict | list | tuple):
        return set()
    inner = value.values() if isinstance(value, dict) else value
    return {name for item in inner for name in variables_in(item)}
