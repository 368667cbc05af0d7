"""Agents of type `claude_code`: the Claude Agent SDK's command line behind walls, one for a run."""
