"""What whoever starts the service may choose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hematovision.images import MAX_BYTES
from hematovision.jobs.classify import DEFAULT_MODEL
from hematovision.model.session import reading_threads

__all__ = ["LOCAL", "Settings"]

LOCAL = "127.0.0.1"
"""The address at which only this computer reaches the service."""


@dataclass(frozen=True)
class Settings:
    """How a service behaves.

    Parameters
    ----------
    models : tuple of str or Path
        Bundled names or run folders; the first one answers where none is asked for.
    threads : int
        Images worked on at once; 0 for one more than there are usable processors. One image on one
        thread is the fastest way (`model.session`); the one more computes while another waits for
        the interpreter, which reading requests needs, too (2 cores: 3 threads answer 9 % more
        requests than 2, and as many as 4).
    queue : int
        Images that may wait for a thread; also the most that one request may bring.
    deadline : float
        Seconds from a request's first byte to its answer.
    max_bytes : int
        Of a request's body. At most ``queue + threads`` bodies are in memory.
    api_key : str or None
        What callers have to show; None or empty lets everybody in.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    models: tuple[str | Path, ...] = (DEFAULT_MODEL,)
    threads: int = 0
    queue: int = 64
    deadline: float = 10.0
    max_bytes: int = 2**25
    api_key: str | None = None

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("`models` must name at least one model. Received: none")
        if self.threads < 0 or self.queue < 1:
            raise ValueError(
                "`threads` must be at least 0 and `queue` at least 1. Received: "
                f"{self.threads} and {self.queue}"
            )
        if self.deadline <= 0 or not 1 <= self.max_bytes <= MAX_BYTES:
            raise ValueError(
                f"`deadline` must be above 0 and `max_bytes` from 1 to {MAX_BYTES:,}. Received: "
                f"{self.deadline} and {self.max_bytes:,}"
            )

    @property
    def workers(self) -> int:
        """How many threads there will be."""
        return self.threads or reading_threads()
