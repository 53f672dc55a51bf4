"""The built site, once for all tests."""

from pathlib import Path

import pytest

from website.building import build

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site: building it raises an error for a warning or a broken link."""
    folder = tmp_path_factory.mktemp("site")
    assert build(ROOT, folder) > 60
    return folder
