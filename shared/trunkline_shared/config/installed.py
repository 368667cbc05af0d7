"""Whether an optional package is there, told without importing it, which may take seconds."""

from importlib.util import find_spec


def installed(module: str) -> bool:
    """`module` may be dotted; then the packages around it are imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package around it
        return False
