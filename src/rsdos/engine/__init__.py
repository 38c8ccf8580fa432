"""An open container: its configuration, its two stores, and both stores as one. Making and clearing a container."""
