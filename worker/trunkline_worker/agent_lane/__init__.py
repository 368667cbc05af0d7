"""The agent lane: agents that are more than a model's answer, on pydantic-ai."""
