"""A random sample of white cells of each class, for a gallery that shows the average cell."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping, Sequence

from hematovision.fields.rows import CellRow
from hematovision.paths import name_bytes

__all__ = ["KEPT", "CellSample"]

KEPT = 40
"""Cells kept of each class."""

_MOST_CLASSES = 64  # classes beyond are not sampled


class CellSample:
    """Keeps up to `KEPT` cells of each class, every cell with the same chance.

    The cells kept are those with the smallest hashes of image and box (bottom-k sampling; Cohen &
    Kaplan 2007, "Summarizing data using bottom-k sketches", PODC). The sample is the same whatever
    the order of the cells, and samples can be merged.
    """

    def __init__(self) -> None:
        self._heaps: dict[str, list[tuple[int, CellRow]]] = {}

    def add(self, kind: str, cell: CellRow) -> None:
        """Add a cell of class `kind`."""
        box = f"\0{cell.x_min:.3f},{cell.y_min:.3f},{cell.x_max:.3f},{cell.y_max:.3f}"
        digest = hashlib.sha256(name_bytes(cell.image + box)).digest()
        self._push(
            kind, (-int.from_bytes(digest), cell)
        )  # the top of the heap has the largest hash

    def _push(self, kind: str, item: tuple[int, CellRow]) -> None:
        if kind not in self._heaps and len(self._heaps) >= _MOST_CLASSES:
            return
        heap = self._heaps.setdefault(kind, [])
        if len(heap) == KEPT and item[0] <= heap[0][0]:
            return
        if any(item[0] == known for known, _ in heap):
            return
        if len(heap) == KEPT:
            heapq.heapreplace(heap, item)
        else:
            heapq.heappush(heap, item)

    def merge(self, other: CellSample) -> None:
        """Add the cells of another sample."""
        for kind, heap in other._heaps.items():
            for item in heap:
                self._push(kind, item)

    def choose(self, kinds: Sequence[str], most: int) -> Mapping[str, tuple[CellRow, ...]]:
        """Choose up to `most` cells over `kinds`, shared as equally as the classes allow.

        A class with fewer cells than its share leaves the rest to the others. Classes without cells
        are left out.
        """
        known = [kind for kind in kinds if kind in self._heaps]
        found = {kind: sorted(self._heaps[kind], reverse=True) for kind in known}
        shares = dict.fromkeys(found, 0)
        while most and (short := [k for k in found if shares[k] < len(found[k])]):
            for kind in short[:most]:
                shares[kind] += 1
            most -= len(short[:most])
        return {k: tuple(cell for _, cell in found[k][: shares[k]]) for k in found if shares[k]}
