"""Objects of any size in bounded memory: sources, their frames, and readers of frames."""
