"""How stored bytes become raw bytes and back; the only door to zstandard, isal and zlib.

Everything here is a function of its arguments and may be called from any thread and after a fork. Each is imported when
it is asked for: whoever reads a configuration needs none of the three.
"""
