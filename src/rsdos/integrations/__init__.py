"""Doors for other libraries: each module is for one of them, imports it, and is an extra of the package."""
