"""The layer between the packed store and a medium that many machines write: names, spools, and the index of both."""
