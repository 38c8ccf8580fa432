"""The command line: one module per command; each parses, opens, delegates and renders."""
