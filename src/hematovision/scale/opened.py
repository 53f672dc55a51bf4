"""What a worker process holds from one task to the next."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol

__all__ = ["Packed", "opened"]


class Packed(Protocol):
    """Something that travels to workers and is opened there."""

    def open(self) -> Any:
        """Make of it what works."""


@lru_cache(maxsize=1)
def opened(reference: Any) -> Any:
    """Return what is behind a reference of Ray's, opened; once in a process.

    Parameters
    ----------
    reference : ray.ObjectRef
        To something `Packed`.
    """
    import ray

    packed: Packed = ray.get(reference)
    return packed.open()
