"""Which adapter an object needs. No framework is imported for it but the object's own."""

import inspect
from typing import Any

from trunkline_worker.python_objects.base import Adapter


def adapter_for(thing: Any, path: str) -> Adapter:
    """Raises ValueError for what is no agent."""
    kinds = {(base.__module__.partition(".")[0], base.__name__) for base in type(thing).__mro__}
    if ("pydantic_ai", "AbstractAgent") in kinds:
        from trunkline_worker.python_objects.pydantic_ai import PydanticAi

        return PydanticAi(thing)
    if ("langgraph", "Pregel") in kinds:
        from trunkline_worker.python_objects.langgraph import LangGraph

        return LangGraph(thing)
    if ("langgraph", "StateGraph") in kinds:
        raise ValueError(f"{path} is a graph that is not compiled: name what compile() returns")
    if ("agents", "Agent") in kinds:
        from trunkline_worker.python_objects.openai_agents import OpenAiAgents

        return OpenAiAgents(thing)
    if inspect.isasyncgenfunction(thing if inspect.isroutine(thing) else _call_of(thing)):
        from trunkline_worker.python_objects.generator import Generator

        return Generator(thing)
    raise ValueError(
        f"{path} is no agent: expected a pydantic-ai Agent, a compiled LangGraph graph, an Agent "
        "of the OpenAI Agents SDK, or an async generator function"
    )


def _call_of(thing: Any) -> Any:
    return type(thing).__call__ if callable(thing) else None
