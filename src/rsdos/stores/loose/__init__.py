"""Loose objects: each is a file of its own."""
