"""What all tests share: the real images, where they are at hand."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from empty_files import leave_figures_empty, leave_keras_files_empty

# Neither this process nor those that the tests start read settings of the developer.
os.environ["HEMATOVISION_CONFIG"] = os.devnull

# A file runs in one process: a long one that is started last keeps the other process waiting.
LONGEST = (
    "app/test_journey.py", "app/test_pages.py", "workflows/test_train.py", "test_api.py",
    "training/test_trainer.py", "test_from_the_brief.py", "training/test_keras_files.py",
    "training/test_backbones.py", "workflows/test_adapt.py", "training/test_fitting.py",
    "workflows/test_outputs.py", "test_tutorial.py", "website/test_notebooks.py",
    "website/test_building.py", "retraining/test_run.py", "workflows/test_backbones.py",
    "tables/test_store.py", "app/test_train_page.py", "app/test_fields_page.py",
    "scale/test_classify.py", "browser/test_page.py", "test_types.py", "training/test_curve.py",
    "cli/test_datasets.py", "cli/test_odd_names.py", "workflows/test_full_disk.py",
)  # fmt: skip

REGISTRIES = {
    "hematovision.data.formats": "FORMATS",
    "hematovision.evaluation.metric": "METRICS",
    "hematovision.model.registry": "BACKBONES",
    "hematovision.workflows.exporters": "EXPORTERS",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files that take the longest first."""
    tests = Path(__file__).parent
    rank = {tests / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


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


@pytest.fixture(autouse=True)
def _nothing_registered() -> Iterator[None]:
    """Remove what a test registered from outside, so that no other test finds it."""
    yield
    for name, attribute in REGISTRIES.items():
        if name in sys.modules:
            getattr(sys.modules[name], attribute).clear()


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the figures of reports empty."""
    leave_figures_empty(monkeypatch)


@pytest.fixture
def without_keras_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write no models for Keras into run folders."""
    leave_keras_files_empty(monkeypatch)
