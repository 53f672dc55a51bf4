"""What takes longest to write into a run folder, left empty for tests of everything else."""

import pytest


def leave_figures_empty(patch: pytest.MonkeyPatch) -> None:
    """Leave the figures of reports empty; to draw them takes two seconds."""
    patch.setattr("hematovision.reporting.plots._saved", lambda *_, **__: b"<svg/>")


def leave_keras_files_empty(patch: pytest.MonkeyPatch) -> None:
    """Write no models for Keras into run folders; to build and store them takes four seconds."""
    patch.setattr(
        "hematovision.training.keras_files.keras_bytes",
        lambda *_, **__: {"h5": b"h5", "keras": b"keras"},
    )
