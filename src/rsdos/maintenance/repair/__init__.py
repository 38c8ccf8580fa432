"""Repairs of the index and of objects, and the quarantine."""
