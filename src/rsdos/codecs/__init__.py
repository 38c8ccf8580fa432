"""Encodes raw bytes to stored bytes and back; the only package that imports zstandard, isal and zlib.

All functions depend only on their arguments, and may be called from any thread and after a fork. Import the modules by
name: reading a configuration needs none of the three libraries.
"""
