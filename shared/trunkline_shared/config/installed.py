"""Whether a module is there, told without importing it, which may take seconds."""

from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path


def installed(module: str) -> bool:
    """`module` may be dotted; then the packages around it are imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package around it
        return False


def importable(package: str) -> bool:
    """Whether a worker that was started in this directory would find the operator's package."""
    return installed(package) or PathFinder.find_spec(package, [str(Path.cwd())]) is not None
