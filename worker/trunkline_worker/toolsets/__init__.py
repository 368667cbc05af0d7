"""What agents can do: each kind of toolset is a file here."""
