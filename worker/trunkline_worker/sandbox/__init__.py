"""What an agent's tools run in: a directory of their own, and walls around it."""
