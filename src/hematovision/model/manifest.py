"""What ``bundle.json`` says about a model.

``bundle.json`` may come from anywhere, so that nothing in it is taken for granted: every key has a
type, every file name must stay inside the folder, and the document has a limit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from hematovision.errors import BundleError, ModelError, TaxonomyError
from hematovision.images import SIZE
from hematovision.model.json_object import JsonObject
from hematovision.model.self_test import SelfTest
from hematovision.model.thresholds import Thresholds
from hematovision.taxonomy import Taxonomy

__all__ = [
    "INPUT_CONTRACT",
    "MAX_MANIFEST_BYTES",
    "SCHEMA_VERSION",
    "SHARED_WEIGHTS",
    "BackboneRef",
    "Manifest",
    "is_safe_name",
    "parse_manifest",
]

SCHEMA_VERSION = 2
"""The newest schema of ``bundle.json`` that this version reads, and the one it writes.

Schema 2 may have ``golden``; older ones, which have not, are read.
"""

MAX_MANIFEST_BYTES = 2**20
"""A manifest has a few kB; thousands of classes with aliases stay below 1 MiB."""

SHARED_WEIGHTS = "hematology.weights"
"""The one name that a bundle may give for weights outside its folder: the packaged ones."""

_MAX_FILES = 1000
_MAX_CLASSES = 1000

INPUT_CONTRACT: Mapping[str, object] = MappingProxyType(
    {
        "size": SIZE,
        "dtype": "uint8",
        "layout": "NHWC",
        "colour_order": "RGB",
        "resize": "stretched, area averaging",
        "scaling": "x / 127.5 - 1, inside the model",
    }
)
"""What a model takes. Another contract is another schema."""


@dataclass(frozen=True)
class BackboneRef:
    """Which backbone a model stands on.

    Parameters
    ----------
    name : str
        For instance ``"hematology"`` or ``"imagenet"``.
    sha256 : str
        Of the weights file (`BackboneWeights.sha256`).
    shared : bool
        Whether the ONNX graph takes its weights from the packaged `SHARED_WEIGHTS` instead of
        holding them. Only the models that are packaged beside them do.
    """

    name: str
    sha256: str
    shared: bool = False


@dataclass(frozen=True)
class Manifest:
    """The content of ``bundle.json``.

    Parameters
    ----------
    name : str
        What to call the model.
    taxonomy : Taxonomy
        Its classes, in the order of its outputs.
    thresholds : Thresholds
    backbone : BackboneRef
        What it stands on.
    data : mapping
        Where it learnt: ``fingerprint`` of the dataset, ``splits`` with their numbers of images,
        and whatever else is worth keeping. Any JSON object.
    seed : int or None
        Of the training run.
    options, versions : mapping
        How it was trained and with what. Any JSON objects.
    temperature : float
        Of the calibration, which is folded into the head. Above 0.
    created : str
        When, in ISO 8601.
    files : mapping of str to str
        SHA-256 of every other file of the bundle by its name; filled in by `bundle.seal`.
    self_test : SelfTest or None
        The model's prediction for `self_test.self_test_cell`; filled in by
        `bundle.seal_self_test`. None in bundles of schema 1.
    """

    name: str
    taxonomy: Taxonomy
    thresholds: Thresholds
    backbone: BackboneRef
    data: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    created: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    self_test: SelfTest | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object, read back by `from_json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "created": self.created,
            "taxonomy": self.taxonomy.to_json(),
            "input": dict(INPUT_CONTRACT),
            "calibration": {
                "method": "temperature and class biases, folded into the last layer",
                "temperature": self.temperature,
            },
            "review": {
                "min_confidence": self.thresholds.min_confidence,
                "max_novelty": self.thresholds.max_novelty,
            },
            "backbone": {
                "name": self.backbone.name,
                "sha256": self.backbone.sha256,
                "file": SHARED_WEIGHTS if self.backbone.shared else None,
            },
            "data": dict(self.data),
            "seed": self.seed,
            "options": dict(self.options),
            "versions": dict(self.versions),
            "golden": None if self.self_test is None else self.self_test.to_json(),
            "files": dict(sorted(self.files.items())),
        }

    def to_text(self) -> str:
        """Return the text of ``bundle.json``.

        Raises
        ------
        BundleError
            If ``data``, ``options`` or ``versions`` hold what JSON cannot say.
        """
        try:
            return json.dumps(self.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        except (TypeError, ValueError) as error:
            raise BundleError(f"The manifest cannot be written as JSON: {error}.") from error

    @classmethod
    def from_json(cls, value: object) -> Manifest:
        """Check a JSON object and take it over.

        Raises
        ------
        BundleError
            If its schema is newer than `SCHEMA_VERSION`, or a key is missing or has a value that
            cannot be right.
        """
        root = JsonObject(value, "")
        _check_schema(root)
        contract = root.object("input")
        for key, expected in INPUT_CONTRACT.items():
            if contract.value.get(key) != expected:
                raise contract.wrong(key, repr(expected))
        taxonomy = _taxonomy(root.object("taxonomy"))
        return cls(
            name=root.get("name", str),
            taxonomy=taxonomy,
            thresholds=_thresholds(root),
            temperature=_temperature(root.object("calibration")),
            backbone=_backbone(root.object("backbone")),
            data=root.object("data").value,
            seed=None if root.value.get("seed") is None else root.get("seed", int),
            options=root.object("options").value,
            versions=root.object("versions").value,
            created=root.get("created", str),
            files=_files(root.object("files")),
            self_test=_self_test(root, len(taxonomy.classes)),
        )


def _check_schema(root: JsonObject) -> None:
    version = root.get("schema_version", int)
    if version > SCHEMA_VERSION:
        raise BundleError(
            f"The bundle has schema {version}; this version of HematoVision reads up to "
            f"{SCHEMA_VERSION}. Upgrade it: pip install --upgrade hematovision"
        )
    if version < 1:
        raise root.wrong("schema_version", "1 or more")


def _taxonomy(value: JsonObject) -> Taxonomy:
    classes = value.get("classes", list)
    if not all(isinstance(label, str) for label in classes) or len(classes) > _MAX_CLASSES:
        raise value.wrong("classes", f"a list of at most {_MAX_CLASSES} texts")
    for names in value.object("aliases").value.values():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise value.wrong("aliases", "lists of texts by class")
    try:
        return Taxonomy.from_json(value.value)
    except TaxonomyError as error:
        raise BundleError(str(error)) from error


def _thresholds(root: JsonObject) -> Thresholds:
    review = root.object("review")
    try:
        return Thresholds(
            min_confidence=review.number("min_confidence"),
            max_novelty=review.number("max_novelty"),
        )
    except BundleError:
        raise
    except ModelError as error:
        raise BundleError(str(error)) from error


def _temperature(value: JsonObject) -> float:
    temperature = value.number("temperature")
    if temperature <= 0:
        raise value.wrong("temperature", "above 0")
    return temperature


def _backbone(value: JsonObject) -> BackboneRef:
    sha256 = value.get("sha256", str)
    if not _is_sha256(sha256):
        raise value.wrong("sha256", "64 hexadecimal digits")
    file = value.value.get("file")
    if file not in (None, SHARED_WEIGHTS):
        raise value.wrong("file", f"null or {SHARED_WEIGHTS!r}")
    return BackboneRef(value.get("name", str), sha256, shared=file is not None)


def _self_test(root: JsonObject, classes: int) -> SelfTest | None:
    if root.value.get("golden") is None:
        return None
    return SelfTest.from_json(root.object("golden"), classes)


def _files(value: JsonObject) -> dict[str, str]:
    if len(value.value) > _MAX_FILES:
        raise BundleError(f"`files` lists {len(value.value)} files; at most {_MAX_FILES} may be.")
    for name, sha256 in value.value.items():
        if not is_safe_name(name):
            raise BundleError(
                f"`files` names {name[:80]!r}, which is not a plain path inside the bundle. Do not "
                "use this bundle unless you know who made it."
            )
        if not _is_sha256(sha256):
            raise value.wrong(name, "64 hexadecimal digits")
    return value.value


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def is_safe_name(name: str) -> bool:
    """Tell whether `name` is a relative path that stays inside its folder on every system.

    Refused are absolute paths, ``..``, backslashes, drives and streams (``C:``, ``a:b``), control
    characters, and anything that is not written in its shortest form.
    """
    parts = PurePosixPath(name).parts
    return (
        0 < len(name) <= 255
        and not name.startswith("/")
        and ".." not in parts
        and not any(character in '\\:*?"<>|' or ord(character) < 32 for character in name)
        and "/".join(parts) == name
        and name != "."
    )


def parse_manifest(data: bytes) -> Manifest:
    """Read the content of a ``bundle.json``.

    Raises
    ------
    BundleError
        If it is too long, no JSON, or not a manifest.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(
            f"The manifest has more than {MAX_MANIFEST_BYTES:,} bytes; one written by HematoVision "
            "has a few thousand."
        )
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # wrong UTF-8 and wrong JSON are ValueErrors
        raise BundleError(f"The manifest is not JSON: {error}.") from error
    return Manifest.from_json(value)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
