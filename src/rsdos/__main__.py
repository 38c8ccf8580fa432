"""``python -m rsdos``."""

from rsdos.cli.start import main

if __name__ == "__main__":
    main()
