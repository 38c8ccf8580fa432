"""Gives a command to the server, with all that a process has, and exits with its code: `client.py SOCKET ARGUMENT…`."""

import json
import os
import signal
import socket
import sys


def main() -> None:
    """Wait for the command's end. If a signal ended it, end by the same."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(sys.argv[1])
    request = {"arguments": sys.argv[2:], "directory": os.getcwd(), "environment": dict(os.environ)}
    socket.send_fds(connection, [b"\n"], [0, 1, 2])
    connection.sendall(json.dumps(request).encode() + b"\n")
    code = int(connection.makefile().readline())
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


main()
