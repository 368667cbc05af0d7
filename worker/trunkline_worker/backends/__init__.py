"""Backends: what executes an agent, one file each."""
