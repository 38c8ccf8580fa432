"""The parts of `rsdos.Container`, by kind: maintenance, exchange with directories and other containers, old names."""
