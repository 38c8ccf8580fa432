"""Repairs of the index and of objects; what is put aside goes to the quarantine."""
