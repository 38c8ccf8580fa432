"""Doctor: finds problems of the machine, of the file system, and of the container. Changes nothing."""
