"""Copies of a container: made, kept in generations, sent elsewhere, restored."""
