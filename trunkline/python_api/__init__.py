"""Agents and their server as objects of somebody else's program."""

from trunkline.python_api.agent_pool import AgentPool
from trunkline.python_api.openai_api_server import OpenAIAPIServer

__all__ = ["AgentPool", "OpenAIAPIServer"]
