"""Listening sockets, and the host names that the server and the web app accept.

A web page can make its own host name resolve to this computer (DNS rebinding). The browser then
treats a server here as the page's own and lets the page read its responses. Such a request has the
page's name in ``Host``; other cross-site requests have it in ``Origin``. A server therefore accepts
only its address, localhost, and the names its operator allows. An address cannot be rebound.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from hematovision.errors import ListeningError

__all__ = ["LOCAL", "Hosts", "listen", "url_of"]

LOCAL = "127.0.0.1"
"""The loopback address: only this computer can reach a server there."""

_LOCALHOST = "localhost"
_LOOPBACK = (_LOCALHOST, LOCAL, "::1")
_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9._-]+")
_BACKLOG = 2048  # connections waiting to be accepted
_SHOWN = 80  # characters of a rejected header


def listen(address: str, port: int) -> socket.socket:
    """Return a listening socket; call this first to report a port in use at once.

    `address` is an IP address or a name of this computer. Raises `ListeningError` if the port is in
    use or the address is not one of this computer.
    """
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, place = found[0]
        opened = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that is empty or too long
        raise _cannot_listen(address, port, error) from error
    try:
        if os.name == "posix":  # on Windows this would share a port that is in use
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(place)
        opened.listen(_BACKLOG)  # from here on no other process can bind the port
    except OSError as error:
        opened.close()
        raise _cannot_listen(address, port, error) from error
    opened.settimeout(0)
    return opened


def _cannot_listen(address: str, port: int, error: Exception) -> ListeningError:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return ListeningError(
            f"Port {port} of {address} is in use by another program, perhaps another "
            "`hematovision serve` or `hematovision app`. Stop that program, or choose another "
            "port with --port."
        )
    if number in (errno.EACCES, errno.EPERM):
        return ListeningError(
            f"This user may not use port {port} of {address}: ports below 1024 are often "
            "reserved. Choose another port, such as --port 8000."
        )
    reason = getattr(error, "strerror", None) or error
    return ListeningError(
        f"{address!r} is not an address that this computer can listen on ({reason}). Use "
        f"--address {LOCAL} for this computer only, or 0.0.0.0 for all its networks."
    )


def url_of(address: str, port: int) -> str:
    """Return the URL of a server for a browser on this computer.

    Examples
    --------
    >>> url_of("0.0.0.0", 8000), url_of("::1", 8000)
    ('http://localhost:8000', 'http://[::1]:8000')
    """
    found = _address(address)
    host = _LOCALHOST if found is not None and found.is_unspecified else address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Hosts:
    """The host names that requests to a server may use.

    Parameters
    ----------
    address : str
        The address the server listens on. If other computers can reach it, any IP address is
        accepted (`anywhere`): in a container, for example, not all addresses are known.
    allowed : iterable of str
        Additional names or IP addresses without a port, such as a reverse proxy's. Raises
        `ListeningError` for anything else.

    Examples
    --------
    >>> sorted(Hosts("127.0.0.1", ["Blood.example.org."]).names)
    ['127.0.0.1', '::1', 'blood.example.org', 'localhost']
    """

    def __init__(self, address: str, allowed: Iterable[str] = ()) -> None:
        own, name = _address(address), _canonical(address)
        self.anywhere = name != _LOCALHOST if own is None else not own.is_loopback
        self._allowed = frozenset(map(_allowed_name, allowed))
        wildcard = own is not None and own.is_unspecified
        self.names = self._allowed.union(_LOOPBACK, () if wildcard else (name,))

    def problem(self, hosts: Sequence[str], origins: Sequence[str]) -> str | None:
        """Return why a request is rejected, or None if it is accepted.

        `hosts` and `origins` are the values of the headers ``Host`` and ``Origin``. An origin must
        be the request's host and port, or an allowed name, since a proxy may change ``Host``. Pages
        on other ports of this computer are other sites.
        """
        if len(hosts) != 1:
            return f"A request must have exactly one Host header. Received: {len(hosts)}."
        host, port = _split(hosts[0])
        if not self._is_own(host):
            return self._rejection("Host", hosts[0], host)
        for origin in origins:
            scheme, _, place = origin.partition("://")
            page, page_port = _split(place)
            usual = str(_PORTS.get(scheme.lower(), ""))
            same = page == host and (page_port or usual) == (port or usual)
            if not usual or not (same or page in self._allowed):
                return self._rejection("Origin", origin, page)
        return None

    def _is_own(self, host: str) -> bool:
        address = _address(host)
        if address is None:
            return host in self.names
        return self.anywhere or address.is_loopback or host in self.names

    def _rejection(self, header: str, value: str, name: str) -> str:
        known = [*sorted(self.names), "any IP address" if self.anywhere else "any loopback address"]
        expected = "the host and port of the request" if header == "Origin" else ", ".join(known)
        option = f"--allowed-host {_shown(name) if _is_plain(name) else 'NAME'}"
        return (
            f"The request's {header} is {_shown(value)!r}, which is not a name of this server. "
            f"Expected: {expected}. To allow another name, such as that of your reverse proxy, "
            f"start the server with {option}."
        )


def _split(netloc: str) -> tuple[str, str]:
    """Return the host and port of ``host:port``; empty if not well-formed."""
    try:
        parts = urlsplit(f"//{netloc}")
        port = "" if parts.port is None else str(parts.port)
    except ValueError:
        return "", ""
    if parts.netloc != netloc or parts.username is not None:
        return "", ""
    return _canonical(parts.hostname or ""), port


def _canonical(host: str) -> str:
    """Return a host in its canonical form."""
    address = _address(host)
    return str(address) if address else host.strip().removesuffix(".").lower()


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def _allowed_name(name: str) -> str:
    """Return an allowed host in the form that browsers send."""
    if _address(name) is not None:
        return _canonical(name)
    try:
        plain = _canonical(name).encode("idna").decode()
    except UnicodeError:
        plain = ""
    if not _is_plain(plain):
        raise ListeningError(
            "An allowed host is a plain name or an IP address, such as blood.example.org, without "
            f"scheme, port or path. Received: {name!r}"
        )
    return plain


def _is_plain(name: str) -> bool:
    return _NAME.fullmatch(name) is not None or _address(name) is not None


def _shown(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()[:_SHOWN]
