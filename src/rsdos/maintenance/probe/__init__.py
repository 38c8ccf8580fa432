"""Probe: finds out what a storage can do by using it, and not from a vendor's name or the claims of a client."""
