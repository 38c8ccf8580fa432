"""The index: where packed objects are. Segments of entries, manifests that list segments, and lookups.

Modules that need numpy are imported when they are first used: a single lookup does without.
"""
