"""Trunkline: every agent a model on an OpenAI-compatible server."""

__version__ = "0.1.0"

__all__ = ["__version__"]
