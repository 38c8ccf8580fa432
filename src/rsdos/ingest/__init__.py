"""Storing many files: walk directories, read in chunks, and share the work among processes.

`add.add_walk` is the operation. `walk.Walk` names the files, `files.store_files` stores them in this process, and
`workers.WorkerPool` in several.
"""
