"""What the pages share: the records, the models, who sits before the screen."""

from __future__ import annotations

import os
from typing import cast

import streamlit as st

from hematovision.app.settings import MAX_IMAGES, MAX_PIXELS, MODELS
from hematovision.limits import UPLOAD_PIXELS
from hematovision.model.classifier import Classifier
from hematovision.paths import data_folder
from hematovision.retraining.library import LibraryModel, ModelLibrary
from hematovision.review.batches import Batch
from hematovision.review.store import ReviewStore
from hematovision.uploads.receiving import Limits

__all__ = [
    "classifier",
    "current_batch",
    "library",
    "limits",
    "model_in_use",
    "put_batch",
    "reviewer",
    "set_reviewer",
    "show_model",
    "shown_model",
    "store",
]

_BATCH, _REVIEWER, _MODEL = "batch", "who", "shown-model"


@st.cache_resource(show_spinner="Opening the records …")
def store() -> ReviewStore:
    """Return the records; opened once for all who use the page."""
    opened = ReviewStore.open()
    opened.apply_retention()
    return opened


def library() -> ModelLibrary:
    """Return the models."""
    given = os.environ.get(MODELS, "")
    return ModelLibrary(data_folder() / "models", filter(None, given.split(os.pathsep)))


def classifier(model: LibraryModel) -> Classifier:
    """Return a model, opened once for all; opened anew where its files have changed."""
    changed = (model.folder / "bundle.json").stat().st_mtime_ns
    return _open(str(model.folder), changed)


@st.cache_resource(show_spinner="Opening the model …", max_entries=4)
def _open(folder: str, changed: int) -> Classifier:  # noqa: ARG001 - a part of the cache's key
    return Classifier.load(folder, max_pixels=int(os.environ.get(MAX_PIXELS) or UPLOAD_PIXELS))


def model_in_use() -> LibraryModel:
    """Return the model that answers on every page."""
    return library().in_use(store())


def show_model(name: str) -> None:
    """Take note of the model whose predictions this run of the page shows."""
    st.session_state[_MODEL] = name


def shown_model() -> str:
    """Return the model whose predictions the page shows, by default the one in use; forget it."""
    return str(st.session_state.pop(_MODEL, None) or model_in_use().name)


def current_batch() -> Batch | None:
    """Return the batch that this person looks at."""
    return cast("Batch | None", st.session_state.get(_BATCH))


def put_batch(batch: Batch | None) -> None:
    """Look at another batch, and forget the images of the one before."""
    before = current_batch()
    if before is not None and before is not batch:
        before.close()
    st.session_state[_BATCH] = batch


def limits() -> Limits:
    """Return how much one upload may bring, as `launch` was told."""
    return Limits(files=int(os.environ.get(MAX_IMAGES) or Limits.files))


def reviewer() -> str:
    """Return the name that this person gave, or nothing."""
    return str(st.session_state.get(_REVIEWER) or st.query_params.get(_REVIEWER, ""))[:80].strip()


def set_reviewer(name: str) -> None:
    """Remember the name, in the address too, so that it outlives a reload."""
    st.session_state[_REVIEWER] = name.strip()[:80]
    st.query_params[_REVIEWER] = name.strip()[:80]
