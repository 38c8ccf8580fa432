"""Here disk-objectstore has two scripts that measure. They are not taken over: see ``docs/drop-in.md`` of rsdos."""
