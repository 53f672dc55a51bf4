"""What all tests share: the real images, where they are at hand."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images, from ``HEMATOVISION_DATA``; the test is skipped without it."""
    value = os.environ.get("HEMATOVISION_DATA")
    if not value:
        pytest.skip("real images are not at hand: HEMATOVISION_DATA is not set")
    folder = Path(value)
    if not (folder / "bccd").is_dir():
        pytest.skip(f"real images are not at hand: HEMATOVISION_DATA={value} has no folder bccd")
    return folder.resolve()


@pytest.fixture(scope="session", autouse=True)
def _few_decoys() -> Iterator[None]:
    """Let training draw a seventh of its decoys: each costs a pass through the backbone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hematovision.training.inputs.RENDERED_DECOYS", 22)
        patch.setattr("hematovision.training.inputs.SPOILT_DECOYS", 12)
        yield
