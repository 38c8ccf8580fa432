"""The names of other programs, made from the verbs of rsdos, for software that was written for them."""
