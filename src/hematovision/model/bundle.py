"""The folder of a trained model.

``bundle.json`` is written last and lists the SHA-256 of every other file. A folder without it is an
unfinished run. Every file is hashed before use, and the hashed bytes are the ones used.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from hematovision import __version__
from hematovision.errors import BundleError
from hematovision.files import (
    ensure_folder,
    sha256_bytes,
    sha256_file,
    sync,
    write_bytes,
    write_text,
)
from hematovision.model.manifest import (
    MAX_MANIFEST_BYTES,
    SHARED_WEIGHTS,
    Manifest,
    Task,
    is_safe_name,
    parse_manifest,
)
from hematovision.model.registry import (
    DEFAULT_DETECTOR,
    DEFAULT_MODEL,
    MANIFEST,
    bundled_detectors,
    bundled_models,
    find_model,
)
from hematovision.model.self_test import run_detector_self_test, run_self_test
from hematovision.model.thresholds import Thresholds
from hematovision.model.weights import MAX_WEIGHTS_BYTES, bundled_weights_path
from hematovision.taxonomy import Taxonomy

__all__ = [
    "BUNDLE_FILES", "H5", "KERAS", "MANIFEST", "MAX_FILE_BYTES", "MAX_MODEL_BYTES", "ONNX",
    "Bundle", "check_task", "finish_bundle", "library_versions", "read_bundle", "seal",
    "seal_self_test", "stage_bundle", "with_self_test", "write_bundle",
]  # fmt: skip

_LOG = logging.getLogger(__name__)

ONNX = "hematovision_model.onnx"
H5 = "hematovision_model.h5"
KERAS = "hematovision_model.keras"

BUNDLE_FILES = (
    ONNX,
    H5,
    KERAS,
    "history.csv",
    "metrics.json",
    "predictions.csv",
    "report.html",
    "split.csv",
    "learning_curve.csv",
    "classification_report.csv",
    "accuracy_loss.svg",
    "accuracy_loss.png",
    "confusion_matrix.svg",
    "confusion_matrix.png",
    "MODEL_CARD.md",
)
"""The files that `seal` looks for; other files in the folder do not belong to the bundle."""

MAX_MODEL_BYTES = 2**26
"""A model with its weights takes about 10 MB; 64 MiB is enough for a wide head."""

MAX_FILE_BYTES = 2**28
"""Limit for a bundle's other files; a report with many images takes a tenth of it."""


@dataclass(frozen=True)
class Bundle:
    """A model folder whose manifest and files have been checked."""

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.name

    @property
    def taxonomy(self) -> Taxonomy:
        """The model's classes, in the order of its outputs."""
        return self.manifest.taxonomy

    @property
    def thresholds(self) -> Thresholds:
        """The model's thresholds."""
        return self.manifest.thresholds

    def read(self, name: str) -> bytes:
        """Return the content of a listed file after checking its hash.

        Raises
        ------
        BundleError
            If the file is not listed, missing, too large or altered.
        """
        expected = self.manifest.files.get(name)
        if expected is None:
            raise BundleError(
                f"{self.folder}: the bundle has no file {name!r}. It has: "
                f"{', '.join(sorted(self.manifest.files))}."
            )
        limit = MAX_MODEL_BYTES if name == ONNX else MAX_FILE_BYTES
        data = _read_limited(self.folder / name, limit)
        _compare(self.folder / name, sha256_bytes(data), expected)
        return data

    def external_weights(self) -> dict[str, bytes]:
        """Return the ONNX graph's external weights by file name.

        Raises `BundleError` if the packaged weights are missing or differ from the model's.
        """
        if not self.manifest.backbone.shared:
            return {}
        path = bundled_weights_path()
        data = _read_limited(path, MAX_WEIGHTS_BYTES)
        _compare(path, sha256_bytes(data), self.manifest.backbone.sha256)
        return {SHARED_WEIGHTS: data}


def read_bundle(folder: Path) -> Bundle:
    """Open a bundle and check every file it lists.

    Raises `BundleError` if ``bundle.json`` is missing, invalid or of a newer schema, lists no
    model, or if a file is missing or altered.
    """
    manifest = _read_manifest(folder)
    if ONNX not in manifest.files:
        raise BundleError(f"{folder / MANIFEST}: `files` does not list {ONNX}. Train it again.")
    for name, expected in manifest.files.items():
        path = folder / name
        _check_size(path, MAX_MODEL_BYTES if name == ONNX else MAX_FILE_BYTES)
        _compare(path, _hash(path), expected)
    return Bundle(folder, manifest)


def check_task(bundle: Bundle, task: Task) -> None:
    """Raise a `BundleError` unless the model is made for `task`."""
    if bundle.manifest.task == task:
        return
    names = (*bundled_models(), *bundled_detectors())
    is_bundled = bundle.name in names and find_model(bundle.name) == bundle.folder
    name = bundle.name if is_bundled else str(bundle.folder)
    if task == "classification":
        raise BundleError(
            f"{name} is a detector: it finds the cells of fields. Use it with "
            f"`hematovision analyze --detector`; in Python, hematovision.FieldAnalyzer.load("
            f"{name!r}). To classify cell images, choose a classifier, for instance "
            f"{DEFAULT_MODEL}."
        )
    raise BundleError(
        f"{name} is a classifier of cell images ({', '.join(bundle.taxonomy.classes)}); a "
        f"detector is needed to find the cells of fields, for instance {DEFAULT_DETECTOR}. Pass "
        "the classifier as --classifier to classify the white cells that a detector finds."
    )


def write_bundle(
    folder: Path, manifest: Manifest, files: Mapping[str, bytes] | None = None
) -> Bundle:
    """Write a bundle: `stage_bundle`, then `finish_bundle`.

    Any `BUNDLE_FILES` already in the folder become part of the bundle. Raises `OutputError` if a
    file cannot be written. Raises `BundleError` if there is no ONNX model, or a name leads out of
    the folder.
    """
    return finish_bundle(stage_bundle(folder, manifest, files or {}))


def stage_bundle(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle's files without ``bundle.json``, which `finish_bundle` adds.

    The manifest's ``files`` are replaced by `files`; an empty ``created`` is set to now, empty
    ``versions`` to `library_versions`. The self-test and the outputs are kept only if `files` has
    the same model; `with_self_test` fills them in again. A `Classifier` can use the unfinished
    bundle. Raises `OutputError` if a file cannot be written. Raises `BundleError` if a name leads
    out of the folder.
    """
    ensure_folder(folder)
    hashes = {_safe(name): sha256_bytes(data) for name, data in files.items()}
    for name, data in files.items():
        write_bytes(folder / name, data)
    same = ONNX in hashes and hashes[ONNX] == manifest.files.get(ONNX)
    complete = replace(
        manifest,
        created=manifest.created or datetime.now(UTC).isoformat(timespec="seconds"),
        versions=manifest.versions or library_versions(),
        files=hashes,
        self_test=manifest.self_test if same else None,
        outputs=manifest.outputs if same else {},
    )
    return Bundle(folder, complete)


def finish_bundle(bundle: Bundle, *, also: Iterable[str] = ()) -> Bundle:
    """Hash every file of a staged bundle, sync all to disk, and write ``bundle.json`` last.

    `also` names further files of the bundle, apart from `BUNDLE_FILES` and those staged. Raises
    `OutputError` if ``bundle.json`` cannot be written. Raises `BundleError` if there is no ONNX
    model, or a name leads out of the folder.
    """
    return _seal(bundle.folder, bundle.manifest, (*bundle.manifest.files, *also))


def seal(folder: Path, *, also: Iterable[str] = ()) -> Bundle:
    """Hash a bundle's files again after deliberate changes.

    `also` names further files of the bundle, apart from `BUNDLE_FILES` and those listed. Raises
    `BundleError` if the folder has no valid ``bundle.json``, or no ONNX model.
    """
    manifest = _read_manifest(folder)
    return _seal(folder, manifest, (*manifest.files, *also))


def with_self_test(bundle: Bundle) -> Bundle:
    """Return the bundle with its model's self-test and the shapes of its outputs.

    The bundle may be staged or finished; nothing is written. Raises `BundleError` if the model
    cannot be opened, or its prediction is not finite.
    """
    # Reading a bundle must not import ONNX Runtime.
    from hematovision.model.session import open_session, read_detector_ports, read_ports

    name = str(bundle.folder / ONNX)
    session = open_session(bundle.read(ONNX), bundle.external_weights(), name=name)
    manifest = bundle.manifest
    if manifest.detection is None:
        outputs = read_ports(session, name=name).outputs
        manifest = replace(manifest, self_test=run_self_test(session), outputs=outputs)
    else:
        outputs = read_detector_ports(session, len(manifest.taxonomy.classes), name=name)
        found = run_detector_self_test(session, manifest.detection)
        manifest = replace(manifest, self_test=found, outputs=outputs)
    return Bundle(bundle.folder, manifest)


def seal_self_test(bundle: Bundle) -> Bundle:
    """Run the self-test of a bundle and write it into ``bundle.json``, in the current schema.

    Raises `BundleError` as `with_self_test`, and `OutputError` if ``bundle.json`` cannot be
    written.
    """
    return _write_manifest(bundle.folder, with_self_test(bundle).manifest)


def library_versions() -> dict[str, str]:
    """Return the versions of Python and the installed libraries that can affect results."""
    # Imported here: predicting does not need them.
    import platform
    from importlib import metadata

    found = {"python": platform.python_version(), "hematovision": __version__}
    for name in ("numpy", "onnxruntime", "pillow", "keras", "tensorflow-cpu", "tensorflow"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _seal(folder: Path, manifest: Manifest, names: Iterable[str]) -> Bundle:
    candidates = sorted({*BUNDLE_FILES, *map(_safe, names)} - {MANIFEST})
    hashes = {name: _hash(folder / name) for name in candidates if (folder / name).is_file()}
    if ONNX not in hashes:
        raise BundleError(f"{folder} has no {ONNX}, which a bundle needs.")
    sealed = replace(manifest, files=hashes)
    if hashes[ONNX] != manifest.files.get(ONNX):
        sealed = replace(sealed, self_test=None, outputs={})
    for name in hashes:
        sync(folder / name)
    return _write_manifest(folder, sealed)


def _write_manifest(folder: Path, manifest: Manifest) -> Bundle:
    text = manifest.to_text()
    parse_manifest(text.encode("utf-8"))  # It must be readable.
    sync(folder)
    sync(write_text(folder / MANIFEST, text))
    _LOG.info("Wrote %s, %d files, into %s.", manifest.name, len(manifest.files), folder)
    return Bundle(folder, manifest)


def _safe(name: str) -> str:
    if not is_safe_name(name):
        raise BundleError(f"{name!r} is not a plain path inside the bundle. Use a file name.")
    return name


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    data = _read_limited(path, MAX_MANIFEST_BYTES)
    try:
        return parse_manifest(data)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def _check_size(path: Path, limit: int) -> None:
    try:
        # Reading a pipe or a device may never end.
        if not path.is_file():
            raise BundleError(
                f"{path} is missing; the bundle is incomplete. Copy the whole folder again, or "
                "train again if the run was interrupted."
            )
        size = path.stat().st_size
    except OSError as error:
        raise BundleError(f"Cannot read {path}: {error.strerror or error}.") from error
    if size > limit:
        raise BundleError(f"{path} has {size:,} bytes; the limit for this file is {limit:,}.")


def _read_limited(path: Path, limit: int) -> bytes:
    _check_size(path, limit)
    try:
        with path.open("rb") as stream:
            return stream.read(limit + 1)
    except OSError as error:
        raise BundleError(f"Cannot read {path}: {error.strerror or error}.") from error


def _hash(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise BundleError(f"Cannot read {path}: {error.strerror or error}.") from error


def _compare(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise BundleError(
            f"{path} was altered: its SHA-256 is {found}, the bundle expects {expected}. Copy the "
            "bundle again; if you changed it on purpose, call hematovision.model.bundle.seal."
        )
