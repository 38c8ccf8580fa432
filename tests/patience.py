"""How long a test waits for what has to come. Imports nothing: the rig of `tests.crash` uses it beside other stores."""

HANG = 1200
"""Seconds. A guard against waiting forever, and no deadline: a ten times slower machine never comes near it."""
