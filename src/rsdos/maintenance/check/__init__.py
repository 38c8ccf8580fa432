"""Validation: what is damaged, and how far a check has come."""
