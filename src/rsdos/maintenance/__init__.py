"""The operations on a whole container, one per module; each is options → plan → execute → report."""
