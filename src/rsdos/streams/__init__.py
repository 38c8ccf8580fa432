"""Objects of any size in bounded memory: what is taken in, how it is cut into frames, how those are read."""
