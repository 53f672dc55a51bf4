"""The settings of a server."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from hematovision.errors import ListeningError
from hematovision.images import SIZE
from hematovision.limits import MAX_BYTES, MAX_PIXELS, UPLOAD_PIXELS
from hematovision.listening import LOCAL, Hosts
from hematovision.model.registry import DEFAULT_DETECTOR, DEFAULT_MODEL
from hematovision.model.session import reading_threads

__all__ = ["LONGEST_DEADLINE", "Settings"]

LONGEST_DEADLINE = 3600.0
"""Seconds."""


@dataclass(frozen=True)
class Settings:
    """The settings of a server.

    Raises `ValueError` if a value is out of range.
    """

    # bundled names or run folders; the first is the default of /v1/classify, the first detector
    # that of /v1/analyze
    models: tuple[str | Path, ...] = (DEFAULT_MODEL, DEFAULT_DETECTOR)
    # 0 for the number of usable CPUs plus one: the extra thread computes while another waits for
    # the interpreter's lock. With 2 cores, 3 threads process 9% more requests than 2, and as many
    # as 4. One image per thread is fastest (`model.session`).
    threads: int = 0
    queue: int = 64  # images that may wait for a thread; also the limit of one request
    deadline: float = 10.0  # seconds from a request's first byte to its response
    max_bytes: int = 2**25  # per body; at most ``queue + threads`` bodies are in memory
    # images of more pixels (width times height) are rejected before they are decoded
    max_pixels: int = UPLOAD_PIXELS
    # the process's limit on open files may reduce it (`connections.affordable`)
    max_connections: int = 1000
    # seconds from a connection's start, or its last response, to the end of the next header
    header_timeout: float = 10.0
    api_key: str | None = None  # the key that clients must send; None accepts everybody
    # the address to listen on; also determines which hosts are accepted (`listening.Hosts`)
    address: str = LOCAL
    # host names that requests may use in addition to this computer's
    allowed_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("`models` must name at least one model. Received: none")
        self._check_counts()
        for name in ("deadline", "header_timeout"):
            seconds = getattr(self, name)
            if not (math.isfinite(seconds) and 0 < seconds <= LONGEST_DEADLINE):
                raise ValueError(
                    f"`{name}` must be above 0 and at most {LONGEST_DEADLINE:g} seconds. "
                    f"Received: {seconds:g}"
                )
        if self.api_key is not None:
            _check_key(self.api_key)
        try:
            _ = self.hosts
        except ListeningError as error:
            raise ValueError(f"`allowed_hosts`: {error}") from error

    @property
    def hosts(self) -> Hosts:
        """The hosts that requests may use."""
        return Hosts(self.address, self.allowed_hosts)

    @property
    def workers(self) -> int:
        """The number of threads."""
        return self.threads or reading_threads()

    def _check_counts(self) -> None:
        limits = {
            "threads": (0, 1024),
            "queue": (1, 2**20),
            "max_bytes": (1, MAX_BYTES),
            "max_pixels": (SIZE**2, MAX_PIXELS),
            "max_connections": (1, 2**20),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(
                    f"`{name}` must be from {least:,} to {most:,}. Received: {value:,}"
                )


def _check_key(key: str) -> None:
    """Reject a blank key, or one that is not valid in a header; never print it."""
    if not key.strip():
        raise ValueError(
            "`api_key` must not be empty, since an empty key would accept everyone. Received: "
            f"{len(key)} blank characters. Set a key, or unset it to run without one"
        )
    if key != key.strip() or not key.isprintable():
        raise ValueError(
            "`api_key` must not begin or end with a space or contain a line break: they are not "
            "valid in a header. Received: a key that does"
        )
