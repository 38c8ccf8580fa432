"""The command line: one module for each command. It parses the options, calls the operation, and prints the result."""
