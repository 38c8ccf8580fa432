"""Objects that are a file each."""
