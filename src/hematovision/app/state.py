"""State shared by the pages: the records, the models and the reviewer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import streamlit as st

from hematovision.app.launch import MAX_IMAGES, MAX_PIXELS, MODELS
from hematovision.fields.edges import EdgeRule
from hematovision.fields.opening import load
from hematovision.limits import UPLOAD_PIXELS
from hematovision.model.classifier import Classifier
from hematovision.paths import data_folder
from hematovision.retraining.library import LibraryModel, ModelLibrary
from hematovision.review.batches import Batch
from hematovision.review.store import ReviewStore
from hematovision.uploads.receiving import Limits
from hematovision.workflows.analyze import AnalyzeOptions, Opened, open_analyzer

__all__ = [
    "analyzer", "classifier", "current_batch", "datasets", "exports_folder", "library", "limits",
    "model_in_use", "put_batch", "reviewer", "set_reviewer", "show_model", "shown_model", "store",
    "who",
]  # fmt: skip

_BATCH, _REVIEWER, _MODEL = "batch", "who", "shown-model"


@st.cache_resource(show_spinner="Opening the records …")
def store() -> ReviewStore:
    """Return the records, opened once per server."""
    opened = ReviewStore.open()
    opened.apply_retention()
    return opened


def library() -> ModelLibrary:
    """Return the library of models."""
    given = os.environ.get(MODELS, "")
    return ModelLibrary(data_folder() / "models", filter(None, given.split(os.pathsep)))


def classifier(model: LibraryModel) -> Classifier:
    """Return a model, opened once per server and again if its files change."""
    changed = (model.folder / "bundle.json").stat().st_mtime_ns
    return _open(str(model.folder), changed)


@st.cache_resource(show_spinner="Opening the model …", max_entries=4)
def _open(folder: str, changed: int) -> Classifier:  # noqa: ARG001 - part of the cache key
    return load(folder, max_pixels=int(os.environ.get(MAX_PIXELS) or UPLOAD_PIXELS))


def analyzer(options: AnalyzeOptions) -> Opened:
    """Return an analyzer of fields, opened once per server and choice of scale and edges."""
    return _open_analyzer(options.rbc_diameter, options.edges)


@st.cache_resource(show_spinner="Opening the models …", max_entries=4)
def _open_analyzer(rbc_diameter: float | None, edges: EdgeRule) -> Opened:
    options = AnalyzeOptions(rbc_diameter=rbc_diameter, edges=edges)
    return open_analyzer(options, max_pixels=int(os.environ.get(MAX_PIXELS) or UPLOAD_PIXELS))


def model_in_use() -> LibraryModel:
    """Return the model in use on all pages."""
    return library().in_use(store())


def show_model(name: str) -> None:
    """Set the model named in the footer: the model whose predictions the page shows."""
    st.session_state[_MODEL] = name


def shown_model() -> str:
    """Return the model set by `show_model` in this run, otherwise the model in use."""
    return str(st.session_state.pop(_MODEL, None) or model_in_use().name)


def current_batch() -> Batch | None:
    """Return the batch shown in this session."""
    return cast("Batch | None", st.session_state.get(_BATCH))


def put_batch(batch: Batch | None) -> None:
    """Show another batch, and delete the images of the previous one."""
    before = current_batch()
    if before is not None and before is not batch:
        before.close()
    st.session_state[_BATCH] = batch


def limits() -> Limits:
    """Return the limits of an upload."""
    return Limits(files=int(os.environ.get(MAX_IMAGES) or Limits.files))


def reviewer() -> str:
    """Return the reviewer's name, or an empty string."""
    return str(st.session_state.get(_REVIEWER) or st.query_params.get(_REVIEWER, ""))[:80].strip()


def set_reviewer(name: str) -> None:
    """Set the reviewer's name, also in the URL to survive a reload."""
    st.session_state[_REVIEWER] = name.strip()[:80]
    st.query_params[_REVIEWER] = name.strip()[:80]


def who() -> str:
    """Return the reviewer's name to record with a change, or a placeholder."""
    return reviewer() or "somebody in the app"


def exports_folder() -> Path:
    """Return the folder of exported datasets."""
    return data_folder() / "exports"


def datasets() -> list[Path]:
    """Return the exported datasets, newest first."""
    return sorted((path for path in exports_folder().glob("*") if path.is_dir()), reverse=True)
