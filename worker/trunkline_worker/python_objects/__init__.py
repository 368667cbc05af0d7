"""Agents that are Python objects of the operator's: what each framework's needs is a file here."""
