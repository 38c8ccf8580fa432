"""Validation: finds damage, and remembers its position so that it can be resumed."""
