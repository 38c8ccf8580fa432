"""Where packed objects are: segments of entries, manifests of segments, and lookups in both.

What needs numpy is imported when it is asked for: a single lookup does without.
"""
