"""The names of other programs, over our verbs, for software that was written for them."""
