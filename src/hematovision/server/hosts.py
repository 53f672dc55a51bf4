"""By which host a request may call the service, and from which page it may come.

A web page cannot read what another host sends, unless its own name is made to point to that host
while it is open (DNS rebinding): then the browser takes the service for the page's own. Such a
request names the page's host. So a service is called by its address, by localhost, or by a name
that whoever starts it allows. An address cannot be rebound.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from hematovision.errors import RequestError

__all__ = ["Hosts"]

_LOCALHOST = "localhost"
_PORTS = {"http": 80, "https": 443}


class Hosts:
    """The hosts by which a service may be called.

    Parameters
    ----------
    address : str
        Where it listens. If others reach it there, they may call it by any address: those of this
        computer are not all known, in a container least of all.
    allowed : iterable of str
        Further names, without port.
    """

    def __init__(self, address: str, allowed: Iterable[str] = ()) -> None:
        own, name = _address(address), _plain(address)
        self._anywhere = name != _LOCALHOST if own is None else not own.is_loopback
        self._allowed = {_plain(one) for one in allowed}
        self._names = {*self._allowed, _LOCALHOST, name}

    def check(self, scope: Scope) -> None:
        """Check ``Host`` and ``Origin`` of a request.

        Raises
        ------
        RequestError
            If the service may not be called so.
        """
        headers = Headers(scope=scope)
        given = headers.getlist("Host")
        if len(given) != 1:
            if not given and scope.get("http_version") == "1.0":
                return
            raise RequestError(
                "malformed", f"A request has one header Host. Received: {len(given)}."
            )
        host, port = _split(given[0])
        if not self._is_own(host):
            raise RequestError(
                "forbidden",
                f"This service may not be called by the host name {host!r}. Call it by its "
                f"address or as localhost, or start it with --allowed-host {host or 'NAME'}.",
            )
        for origin in headers.getlist("Origin"):
            self._check_origin(origin, host, port)

    def _check_origin(self, origin: str, host: str, port: str) -> None:
        """Let in pages of the service itself, and those of allowed names, as behind a proxy."""
        scheme, _, place = origin.partition("://")
        page, page_port = _split(place)
        usual = str(_PORTS.get(scheme.lower(), ""))
        same = page == host and (page_port or usual) == (port or usual)
        if scheme.lower() not in _PORTS or not (same or page in self._allowed):
            raise RequestError(
                "forbidden",
                f"This service takes no requests from the page {origin!r}, which is not its own. "
                "Ask from a program, or start the service with --allowed-host and the page's name.",
            )

    def _is_own(self, host: str) -> bool:
        address = _address(host)
        if address is None:
            return host in self._names
        return self._anywhere or address.is_loopback or host in self._names


def _split(netloc: str) -> tuple[str, str]:
    """Return host and port of ``host:port``; empty where they are not well-formed."""
    try:
        parts = urlsplit(f"//{netloc.strip()}")
        port = "" if parts.port is None else str(parts.port)
    except ValueError:
        return "", ""
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        return "", ""
    return _plain(parts.hostname or ""), port


def _plain(name: str) -> str:
    return name.strip().strip("[]").removesuffix(".").lower()


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None
