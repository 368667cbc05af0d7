"""Trunkline: every agent a model on an OpenAI-compatible server."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trunkline.python_api import AgentPool, OpenAIAPIServer

__version__ = "0.1.0"

__all__ = ["AgentPool", "OpenAIAPIServer", "__version__"]

if not TYPE_CHECKING:
    # Only who asks for a server pays for its import, and needs both tiers installed.
    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            from trunkline import python_api
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("trunkline"):
                raise
            raise ImportError(
                f"trunkline.{name} needs {error.name}: pip install 'trunkline[api,worker]'"
            ) from error
        return getattr(python_api, name)
