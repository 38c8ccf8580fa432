"""``python -m rsdos``."""

from rsdos.cli.entry import main

if __name__ == "__main__":
    main()
