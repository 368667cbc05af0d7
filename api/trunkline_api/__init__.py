"""The HTTP edge: OpenAI in, runs out, events back as OpenAI."""
