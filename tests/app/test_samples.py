"""Drawn cells for whoever has none."""

from hematovision import images
from hematovision.app.samples import synthetic_samples


def test_samples_are_called_drawn_and_always_the_same():
    samples = synthetic_samples()
    assert samples == synthetic_samples()
    assert 12 <= len(samples) <= 24
    assert all(name.startswith("drawn ") for name, _ in samples)
    kinds = {name.split()[1] for name, _ in samples}
    assert {"rbc", "platelet", "neutrophil", "lymphocyte"} <= kinds


def test_samples_are_whole_cells():
    for _, content in synthetic_samples():
        height, width, _ = images.read(content).shape
        assert height == width >= 20
