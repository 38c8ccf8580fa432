"""What is wrong around a container: the machine, the file system, and the container itself. Changes nothing."""
