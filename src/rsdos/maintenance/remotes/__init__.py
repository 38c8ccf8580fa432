"""Named other containers: push, pull, fetch, clone and compare."""
