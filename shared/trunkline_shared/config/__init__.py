"""The configuration file: its values, how it is read, which providers it may name."""
