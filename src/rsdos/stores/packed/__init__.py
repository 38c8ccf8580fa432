"""Objects in packs of version 2."""
