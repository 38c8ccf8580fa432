"""``python -m rsdos``."""

from rsdos.cli.main import main

if __name__ == "__main__":
    main()
