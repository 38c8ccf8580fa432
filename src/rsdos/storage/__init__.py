"""The file system: descriptors, locks, durable writes and removals."""
