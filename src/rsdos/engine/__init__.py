"""What an open container is made of: its configuration, its two stores, and both of them as one."""
