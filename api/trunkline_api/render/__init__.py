"""Run events to the bytes of each wire format."""
