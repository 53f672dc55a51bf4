"""Drawn cells for whoever has no images at hand, called drawn wherever they appear."""

from __future__ import annotations

from hematovision import images
from hematovision.images.crops import crop
from hematovision.synthetic import render_field

__all__ = ["synthetic_samples"]

_KINDS = {"rbc": 5, "platelet": 3, "neutrophil": 2, "lymphocyte": 2, "eosinophil": 1}
_LABS = ("synthetic-a", "synthetic-b")
_SEED = 8


def synthetic_samples() -> list[tuple[str, bytes]]:
    """Return drawn cells, cut out of drawn fields, as PNG files with names; always the same."""
    samples: list[tuple[str, bytes]] = []
    for lab in _LABS:
        field = render_field(_SEED, lab=lab, cells=_KINDS)
        for cell in field.cells:
            xmin, ymin, xmax, ymax = map(float, cell.box)
            pixels, touches_border = crop(field.image, (xmin, ymin, xmax, ymax))
            if touches_border:
                continue
            name = f"drawn {cell.kind} {len(samples) + 1}.png"
            samples.append((name, images.encode_png(pixels)))
    return samples
