"""Servers of this program: where they listen, and under which host names they are reached.

A page of another site can give its own name the address 127.0.0.1 (DNS rebinding) and then talk to
a server on this computer as if it were its own. Such requests carry that name in ``Host``; others
carry the name of their page in ``Origin``. Known names only are let in.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from hematovision.errors import ListeningError

__all__ = ["ANY_ADDRESS", "LOOPBACK", "WILDCARDS", "host_names", "listen", "refused_request"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""The host names of this computer for itself."""

WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened at
"""Addresses that stand for all of a computer's."""

ANY_ADDRESS = "any IP address"
"""Among `host_names`: every IP address. An address cannot be rebound; only names can."""

_NAME = re.compile(r"[a-z0-9._-]+")
_SHOWN = 80  # Characters of what somebody else sent.


def listen(address: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Parameters
    ----------
    address : str
        An IP address or a name of this computer.
    port : int

    Raises
    ------
    ListeningError
        If the port is taken or the address is not this computer's.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=2048)
    except OSError as error:
        raise ListeningError(
            f"Cannot listen at {address} port {port}: {os.strerror(error.errno or 0)}. Another "
            "program may have the port: choose another with --port, or stop that program."
        ) from error


def host_names(address: str, allowed: Iterable[str] = ()) -> frozenset[str]:
    """Return the host names under which a server may be reached.

    They are `LOOPBACK`, the address it listens at, and those allowed. Of a wildcard, all addresses:
    those of this computer are not all known, in a container least of all.

    Parameters
    ----------
    address : str
        Where the server listens.
    allowed : iterable of str
        Further names or IP addresses, such as that of a reverse proxy.

    Raises
    ------
    ListeningError
        If one of them is not a plain host name.

    Examples
    --------
    >>> sorted(host_names("127.0.0.1", ["Blood.example.org."]))
    ['127.0.0.1', '::1', 'blood.example.org', 'localhost']
    """
    own = ANY_ADDRESS if address in WILDCARDS else _plain_name(address)
    return frozenset((*LOOPBACK, own, *map(_plain_name, allowed)))


def refused_request(
    hosts: Sequence[str], origins: Sequence[str], names: frozenset[str]
) -> str | None:
    """Return why a request is refused, or None where it may be answered.

    Parameters
    ----------
    hosts, origins : sequence of str
        The values of the headers ``Host`` and ``Origin``.
    names : frozenset of str
        From `host_names`.

    Notes
    -----
    ``Origin`` must be the very host and port that was asked, or one of the further names: a proxy
    may hand on a ``Host`` of its own. Pages of other ports of this computer are other sites.
    """
    host = _hostname(hosts[0]) if len(hosts) == 1 else None
    if host not in names and not (ANY_ADDRESS in names and _is_address(host)):
        return _refusal("Host", ", ".join(hosts), names)
    for origin in origins:
        scheme, _, rest = origin.partition("://")
        is_same = scheme in ("http", "https") and rest == hosts[0]
        if not is_same and _hostname(rest) not in names.difference(LOOPBACK):
            return _refusal("Origin", origin, names)
    return None


def _refusal(header: str, value: str, names: frozenset[str]) -> str:
    shown = value.encode("ascii", "backslashreplace").decode()[:_SHOWN]
    return (
        f"The request's {header} is {shown!r}, which is not a name of this server. Expected one "
        f"of: {', '.join(sorted(names))}. If it is the name of your reverse proxy, start the "
        "server with --allowed-host and that name.\n"
    )


def _hostname(netloc: str) -> str | None:
    """Return the host of ``host[:port]`` in lower case; None where it is anything else."""
    try:
        parts = urlsplit(f"//{netloc}")
        _ = parts.port
    except ValueError:
        return None
    if parts.netloc != netloc or "@" in netloc or parts.hostname is None:
        return None
    return parts.hostname.rstrip(".")


def _is_address(host: str | None) -> bool:
    try:
        return host is not None and bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _plain_name(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        pass
    try:
        # As browsers send it.
        plain = name.strip().rstrip(".").encode("idna").decode().lower()
    except UnicodeError:
        plain = ""
    if not _NAME.fullmatch(plain):
        raise ListeningError(
            "An allowed host is a plain name or an IP address, such as blood.example.org, without "
            f"scheme, port or path. Received: {name!r}"
        )
    return plain
