"""The operations on a whole container, one per module.

Each operation is options → plan → execute → report:

- its *options* are a frozen dataclass of what the caller wants;
- ``plan`` looks, counts and refuses, and changes nothing;
- ``execute`` does the work under the maintenance lock, and can be killed at any moment and run again;
- its *report* says what was done.
"""
