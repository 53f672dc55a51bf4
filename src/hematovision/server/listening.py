"""The socket that the service listens on, and how many connections the process can hold."""

from __future__ import annotations

import errno
import math
import os
import socket
from contextlib import suppress
from importlib import import_module

from hematovision.errors import AddressError

__all__ = ["affordable", "listening"]

_RESERVE = 100
"""Open files besides connections: models, the event loop, libraries, and those being accepted."""


def listening(address: str, port: int) -> socket.socket:
    """Return a bound socket, before any model is loaded: a port that is taken is known at once.

    Raises
    ------
    AddressError
        If the port is taken, or the address is not one of this computer.
    """
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that is empty or too long
        raise _refused(address, port, error) from error
    family, kind, protocol, _, place = found[0]
    opened = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # On Windows it would share the port with whoever has it.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(place)
    except OSError as error:
        opened.close()
        raise _refused(address, port, error) from error
    opened.settimeout(0)
    return opened


def affordable(connections: int) -> int:
    """Return how many of so many connections the process can hold, at least one.

    Its soft limit on open files is raised as far as needed and allowed: on macOS it is 256. Where
    connections use up all files, none is accepted any more, not even to say so.
    """
    try:
        resource = import_module("resource")  # Not on Windows, which has no such limit.
    except ModuleNotFoundError:
        return connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = math.inf if hard == resource.RLIM_INFINITY else hard
    wanted = min(connections + _RESERVE, most)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (int(wanted), hard))
        soft = int(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, int(soft) - _RESERVE))


def _refused(address: str, port: int, error: Exception) -> AddressError:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return AddressError(
            f"Port {port} of {address} is in use by another program, perhaps by another "
            "`hematovision serve`. End that one, or choose another port: --port."
        )
    if number in (errno.EACCES, errno.EPERM):
        return AddressError(
            f"Port {port} of {address} may not be used by this user: ports below 1024 are often "
            "reserved. Choose another port: --port 8000."
        )
    reason = getattr(error, "strerror", None) or error
    return AddressError(
        f"{address!r} is not an address that this computer can listen on ({reason}). Give "
        "--address 127.0.0.1 for this computer only, or 0.0.0.0 for all its networks."
    )
