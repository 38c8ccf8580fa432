"""Backups of a container: made beside earlier generations, sent to another machine, restored."""
