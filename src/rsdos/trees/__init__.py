"""Trees of directories, snapshots and refs as objects: pure functions from entries to bytes and back.

Nothing here opens a file or a container: pages come in by a function that reads objects by digest, and go out by one
that stores them. docs/format.md has the bytes.
"""
