"""Takes runs from Redis, executes them on backends, publishes what they say."""
