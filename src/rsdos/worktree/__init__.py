"""Working directories: a directory of the user's disk beside a snapshot.

`scan` reads a directory in tree order, `state` remembers what it read, `save` makes a snapshot of it and `status`
compares it with one. This room is the only one that reads and writes the user's directories.
"""
