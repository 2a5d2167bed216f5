"""The socket that the page listens on, or a sentence about why there is none."""

from __future__ import annotations

import errno
import socket
import sys


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Exits with a sentence that names what to change."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # The protocol is named so that asyncio turns Nagle's algorithm off: without it each answer waits up to 40 ms.
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except socket.gaierror:
        sys.exit(f"HOST {host} is not known here. Set HOST to an address of this machine, such as 127.0.0.1.")
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            sys.exit(f"HOST {host} is no address of this machine. Set HOST to one that is, such as 127.0.0.1.")
        if error.errno == errno.EACCES:
            sys.exit(f"Port {port} may not be used by this user. Set PORT to one above 1023: PORT=7860 make run")
        sys.exit(
            f"Port {port} of {host} is in use ({error.strerror}). Stop what uses it, or set PORT to another one: "
            f"PORT={port + 1 if port < 65535 else 7860} make run"
        )
    return listener
