"""The content of ``bundle.json``.

A bundle may come from an untrusted source: the type of every key is checked, file names must stay
inside the folder, and the length of the document is limited.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_args

from hematovision.errors import BundleError, ModelError, TaxonomyError
from hematovision.images import SIZE
from hematovision.images.stain import Colour, Stain
from hematovision.model.framing import Framing
from hematovision.model.registry import DEFAULT_BACKBONE
from hematovision.model.self_test import SelfTest
from hematovision.model.thresholds import Thresholds
from hematovision.taxonomy import Taxonomy

__all__ = [
    "DETECTOR_CONTRACT", "INPUT_CONTRACT", "INPUT_SIZES", "MAX_MANIFEST_BYTES", "SCALING",
    "SCHEMA_VERSION", "SHARED_WEIGHTS", "BackboneRef", "Detection", "JsonObject", "Manifest",
    "Shapes", "Task", "is_safe_name", "parse_manifest",
]  # fmt: skip

SCHEMA_VERSION = 4
"""The newest schema of ``bundle.json`` that this version reads.

Schema 4 added ``framing``. It is written for bundles that have one, so that earlier versions, which
would ignore it, reject them; other bundles are written with schema 3. That added ``task`` and
``outputs``, made the input size variable, and renamed ``review`` to ``thresholds`` and ``golden``
(added by schema 2) to ``self_test``.
"""

_UNFRAMED = 3
"""The schema of bundles without a framing."""

MAX_MANIFEST_BYTES = 2**20
"""A manifest usually takes a few kB; thousands of classes with aliases stay below 1 MiB."""

SHARED_WEIGHTS = "hematology.weights"
"""The packaged weights, the only file outside its folder that a bundle may use."""

_MAX_FILES = 1000
_MAX_CLASSES = 1000

INPUT_SIZES = range(32, 1025)
"""Allowed widths of a graph's square input, in pixels."""

SCALING = "x / 127.5 - 1, inside the model"
"""The scaling in graphs written by HematoVision; other graphs may scale differently."""

INPUT_CONTRACT: Mapping[str, str] = MappingProxyType(
    {
        "dtype": "uint8",
        "layout": "NHWC",
        "colour_order": "RGB",
        "resize": "stretched, area averaging",
    }
)
"""The properties of the input common to all models; only its size may differ."""

DETECTOR_CONTRACT: Mapping[str, str] = MappingProxyType(
    {
        "dtype": "uint8",
        "layout": "NHWC",
        "colour_order": "RGB",
        "resize": "uniform, until the median red cell is detection.red_cell_px wide",
        "white_balance": "of the whole field, before resizing",
    }
)
"""The properties of the input common to all detectors; `Detection` has the rest."""

Task: TypeAlias = Literal["classification", "detection"]
"""Classify single-cell images, or find the cells of a field."""

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""Shapes of outputs by name, without N."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class BackboneRef:
    """The backbone of a model."""

    name: str  # of its weights, for instance ``"hematology"`` or ``"imagenet"``
    sha256: str  # of the weights; for MobileNetV2, of the weights file (`BackboneWeights.sha256`)
    # whether the ONNX graph uses the packaged `SHARED_WEIGHTS`; True only for the bundled models
    shared: bool = False
    # its name in `registry.BACKBONES`, or another program's name for it
    architecture: str = DEFAULT_BACKBONE


@dataclass(frozen=True)
class Detection:
    """How to prepare the input of a detector and how to read its outputs.

    The graph maps ``images``, uint8 RGB (N, H, W, 3), to ``heat``, float32 (N, H / stride,
    W / stride, C), the probability that a cell of each class has its centre there, and
    ``distances``, float32 (N, H / stride, W / stride, 4): left, top, right and bottom, in pixels,
    from the point ``((x + 0.5) * stride, (y + 0.5) * stride)`` to the sides of its box.

    Raises `BundleError` if a value is out of range.
    """

    # least calibrated confidence of a cell, by class, 0 to 1; less confident ones are discarded
    thresholds: Mapping[str, float]
    # confidence = sigmoid(a * logit(heat) + b), (a, b) by class; a is above 0
    calibration: Mapping[str, tuple[float, float]]
    red_cell_px: float = 36.0  # width of the median red cell in the input
    stride: int = 4
    multiple: int = 32  # H and W are multiples of it, and it of `stride`
    # factor of the distances, and so of the width of red cells, which gives the scale; other than 1
    # after adapting the detector to a lab
    box_scale: float = 1.0

    def __post_init__(self) -> None:
        if not (
            self.thresholds.keys() == self.calibration.keys()
            and all(0 <= value <= 1 for value in self.thresholds.values())
            and all(a > 0 and math.isfinite(a) and math.isfinite(b) for a, b in self._pairs)
        ):
            raise BundleError(
                "`Detection` must have a threshold from 0 to 1 and a calibration (a, b), a above "
                f"0, for every class. Received: {self}."
            )
        if not (
            8 <= self.red_cell_px <= 256
            and 1 <= self.stride <= self.multiple <= 256
            and self.multiple % self.stride == 0
            and 0.5 <= self.box_scale <= 2
        ):
            raise BundleError(
                "`Detection` must have 8 <= red_cell_px <= 256, 1 <= stride <= multiple <= 256 and "
                "0.5 <= box_scale <= 2, and `multiple` must be a multiple of `stride`. Received: "
                f"{self}."
            )

    @property
    def _pairs(self) -> Iterable[tuple[float, float]]:
        return self.calibration.values()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "classes": list(self.thresholds),
            "red_cell_px": self.red_cell_px,
            "stride": self.stride,
            "multiple": self.multiple,
            **({} if self.box_scale == 1 else {"box_scale": self.box_scale}),
            "thresholds": dict(self.thresholds),
            "calibration": {name: {"a": a, "b": b} for name, (a, b) in self.calibration.items()},
        }


@dataclass(frozen=True)
class Manifest:
    """The content of ``bundle.json``."""

    name: str  # of the model
    taxonomy: Taxonomy  # the classes, in the order of the outputs
    thresholds: Thresholds  # of acceptance; a detector has no novelty, and its own in `detection`
    backbone: BackboneRef
    # the training data: any JSON object, with the dataset's ``fingerprint``, images per split
    # (``splits``) and more
    data: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None  # of the training run
    # of the training run; any JSON objects
    options: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 1.0  # of the calibration (already folded into the head), above 0
    created: str = ""  # date and time in ISO 8601
    # SHA-256 of every other file by name; filled in by `bundle.seal`
    files: Mapping[str, str] = field(default_factory=dict)
    # the model's prediction for `self_test.self_test_cell`, from `bundle.with_self_test`; None in
    # bundles of schema 1
    self_test: SelfTest | None = None
    input_size: int = SIZE  # width and height of the input in pixels, one of `INPUT_SIZES`
    scaling: str = SCALING  # how the graph scales pixels; informational
    # shapes of the graph's outputs without N, from `bundle.with_self_test`; empty in bundles of
    # schema 1 and 2
    outputs: Shapes = field(default_factory=dict)
    detection: Detection | None = None  # of a detector; its classes are those of `taxonomy`
    # of a classifier whose images are framed and recoloured by red cells; None for any images
    framing: Framing | None = None

    @property
    def task(self) -> Task:
        """What the model does."""
        return "classification" if self.detection is None else "detection"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object for `from_json`."""
        max_novelty, max_field = self.thresholds.max_novelty, self.thresholds.max_field
        own = {} if self.detection is None else {"detection": self.detection.to_json()}
        framing = {} if self.framing is None else {"framing": self.framing.to_json()}
        return {
            "schema_version": SCHEMA_VERSION if framing else _UNFRAMED,
            "task": self.task,
            "name": self.name,
            "created": self.created,
            "taxonomy": self.taxonomy.to_json(),
            "input": self._input(),
            "outputs": {name: list(shape) for name, shape in self.outputs.items()},
            **own,
            **framing,
            "calibration": {
                "method": "by class, in `detection`"
                if own
                else "temperature and class biases, folded into the last layer",
                "temperature": self.temperature,
            },
            "thresholds": {
                "min_confidence": self.thresholds.min_confidence,
                "max_novelty": max_novelty if math.isfinite(max_novelty) else None,
                **({"max_field": max_field} if math.isfinite(max_field) else {}),
            },
            "backbone": {
                "architecture": self.backbone.architecture,
                "name": self.backbone.name,
                "sha256": self.backbone.sha256,
                "file": SHARED_WEIGHTS if self.backbone.shared else None,
            },
            "data": dict(self.data),
            "seed": self.seed,
            "options": dict(self.options),
            "versions": dict(self.versions),
            "self_test": None if self.self_test is None else self.self_test.to_json(),
            "files": dict(sorted(self.files.items())),
        }

    def _input(self) -> dict[str, Any]:
        if self.detection is None:
            return {"size": self.input_size, **INPUT_CONTRACT, "scaling": self.scaling}
        return {**DETECTOR_CONTRACT, "scaling": self.scaling}

    def to_text(self) -> str:
        """Return the text of ``bundle.json``.

        Raises `BundleError` if ``data``, ``options`` or ``versions`` can't be written as JSON.
        """
        try:
            return json.dumps(self.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        except (TypeError, ValueError) as error:
            raise BundleError(f"The manifest cannot be written as JSON: {error}.") from error

    @classmethod
    def from_json(cls, value: object) -> Manifest:
        """Check a JSON object of schema 1 to `SCHEMA_VERSION` and return its manifest.

        Raises `BundleError` if its schema is newer, its task is unknown, or a key is missing or has
        an invalid value.
        """
        root = JsonObject(value, "")
        schema = _schema(root)
        is_old = schema < 3
        task: Task = "classification" if is_old else _task(root)
        taxonomy = _taxonomy(root.object("taxonomy"))
        self_test = "golden" if is_old else "self_test"
        return cls(
            name=root.get("name", str),
            taxonomy=taxonomy,
            thresholds=_thresholds(root.object("review" if is_old else "thresholds")),
            backbone=_backbone(root.object("backbone")),
            data=root.object("data").value,
            seed=None if root.value.get("seed") is None else root.get("seed", int),
            options=root.object("options").value,
            versions=root.object("versions").value,
            temperature=_temperature(root.object("calibration")),
            created=root.get("created", str),
            files=_files(root.object("files")),
            self_test=None
            if root.value.get(self_test) is None
            else _self_test(root.object(self_test), len(taxonomy.classes)),
            input_size=_input_size(root.object("input"), is_old=is_old)
            if task == "classification"
            else _detector_input(root.object("input")),
            scaling=root.object("input").get("scaling", str),
            outputs={} if is_old else _outputs(root.object("outputs")),
            detection=_detection(root.object("detection"), taxonomy.classes)
            if task == "detection"
            else None,
            framing=_framing(root, schema, task),
        )


class JsonObject:
    """A JSON object that knows its place in the document, for error messages.

    `value` is as parsed from JSON; `place` is ``"taxonomy.aliases"`` for instance, or empty for the
    whole document. Raises `BundleError` if it is not a JSON object; by the methods, if a value is
    missing or has another type.
    """

    def __init__(self, value: object, place: str) -> None:
        if not isinstance(value, dict):
            raise BundleError(
                f"{place or 'The document'} must be a JSON object. Received: "
                f"{type(value).__name__}."
            )
        self.value: dict[str, Any] = value
        self.place = f"{place}." if place else ""

    def wrong(self, key: str, expected: str) -> BundleError:
        """Return the error about `key`."""
        if key not in self.value:
            return BundleError(f"`{self.place}{key}` is missing; it must be {expected}.")
        shown = repr(self.value[key])[:80]
        return BundleError(f"`{self.place}{key}` must be {expected}. Received: {shown}.")

    def get(self, key: str, kind: type[_T]) -> _T:
        """Return the value of `key` if it is a `kind`; booleans are not numbers."""
        value = self.value.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.wrong(key, f"of type {kind.__name__}")
        return value

    def number(self, key: str) -> float:
        """Return the finite number at `key`."""
        value = self.value.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key, "a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.wrong(key, "a finite number")
        return number

    def object(self, key: str) -> JsonObject:
        """Return the object at `key`."""
        if not isinstance(self.value.get(key), dict):
            raise self.wrong(key, "a JSON object")
        return JsonObject(self.value[key], f"{self.place}{key}")


def _schema(root: JsonObject) -> int:
    version = root.get("schema_version", int)
    if version > SCHEMA_VERSION:
        raise BundleError(
            f"The bundle has schema {version}; this version of HematoVision reads up to "
            f"{SCHEMA_VERSION}. Upgrade it: pip install --upgrade hematovision"
        )
    if version < 1:
        raise root.wrong("schema_version", "1 or more")
    return version


def _task(root: JsonObject) -> Task:
    for task in get_args(Task):
        if root.get("task", str) == task:
            return cast("Task", task)
    raise root.wrong("task", "'classification' or 'detection'; this version can run no other")


def _detector_input(value: JsonObject) -> int:
    for key, expected in DETECTOR_CONTRACT.items():
        if value.value.get(key) != expected:
            raise value.wrong(key, repr(expected))
    return SIZE


def _detection(value: JsonObject, classes: tuple[str, ...]) -> Detection:
    thresholds, calibration = value.object("thresholds"), value.object("calibration")
    if value.get("classes", list) != list(classes):
        raise value.wrong("classes", f"the classes of the taxonomy, {list(classes)}")
    for given in (thresholds, calibration):
        if set(given.value) != set(classes):
            raise BundleError(
                f"`{given.place}*` must have the classes {list(classes)}. Received: "
                f"{sorted(given.value)[:10]}."
            )
    pairs = {name: calibration.object(name) for name in classes}
    return Detection(
        thresholds={name: thresholds.number(name) for name in classes},
        calibration={name: (one.number("a"), one.number("b")) for name, one in pairs.items()},
        red_cell_px=value.number("red_cell_px"),
        stride=value.get("stride", int),
        multiple=value.get("multiple", int),
        box_scale=value.number("box_scale") if "box_scale" in value.value else 1.0,
    )


def _framing(root: JsonObject, schema: int, task: Task) -> Framing | None:
    if root.value.get("framing") is None:
        return None
    if schema <= _UNFRAMED or task == "detection":
        raise root.wrong("framing", f"absent from detectors and before schema {_UNFRAMED + 1}")
    value = root.object("framing")
    side = value.number("red_cell_diameters")
    blur = value.number("blur") if "blur" in value.value else 0.0
    nucleus = _colour(value, "nucleus") if value.value.get("nucleus") is not None else None
    stain = None
    if value.value.get("stain") is not None:
        colours = value.object("stain")
        stain = Stain(_colour(colours, "background"), _colour(colours, "red_cell"))
    return Framing(side, stain, blur, nucleus)


def _colour(value: JsonObject, key: str) -> Colour:
    given = value.get(key, list)
    if len(given) != 3 or not all(type(one) in (int, float) and 0 <= one <= 255 for one in given):
        raise value.wrong(key, "red, green and blue, three numbers from 0 to 255")
    red, green, blue = map(float, given)
    return red, green, blue


def _input_size(value: JsonObject, *, is_old: bool) -> int:
    for key, expected in INPUT_CONTRACT.items():
        if value.value.get(key) != expected:
            raise value.wrong(key, repr(expected))
    if is_old and value.value.get("scaling") != SCALING:
        raise value.wrong("scaling", repr(SCALING))
    size = value.get("size", int)
    if size not in ((SIZE,) if is_old else INPUT_SIZES):
        known = f"{INPUT_SIZES[0]} to {INPUT_SIZES[-1]} pixels"
        raise value.wrong("size", str(SIZE) if is_old else known)
    return size


def _outputs(value: JsonObject) -> Shapes:
    if len(value.value) > _MAX_FILES:
        raise BundleError(f"`outputs` lists {len(value.value)} outputs; at most {_MAX_FILES}.")
    for name, shape in value.value.items():
        if not isinstance(shape, list) or not all(type(n) is int and n > 0 for n in shape):
            raise value.wrong(name, "a list of positive integers, the shape without N")
    return {name: tuple(cast("list[int]", shape)) for name, shape in value.value.items()}


def _taxonomy(value: JsonObject) -> Taxonomy:
    classes = value.get("classes", list)
    if not all(isinstance(label, str) for label in classes) or len(classes) > _MAX_CLASSES:
        raise value.wrong("classes", f"a list of at most {_MAX_CLASSES} strings")
    for names in value.object("aliases").value.values():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise value.wrong("aliases", "lists of strings by class")
    try:
        return Taxonomy.from_json(value.value)
    except TaxonomyError as error:
        raise BundleError(str(error)) from error


def _thresholds(value: JsonObject) -> Thresholds:
    no_novelty = value.place == "thresholds." and value.value.get("max_novelty", "") is None
    max_novelty = math.inf if no_novelty else value.number("max_novelty")
    # Models written before 0.3 have no field score.
    max_field = value.number("max_field") if "max_field" in value.value else math.inf
    try:
        return Thresholds(value.number("min_confidence"), max_novelty, max_field)
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
    architecture = value.value.get("architecture", DEFAULT_BACKBONE)  # absent in schema 1 and 2
    if not isinstance(architecture, str):
        raise value.wrong("architecture", "a string")
    return BackboneRef(value.get("name", str), sha256, file is not None, architecture)


def _self_test(value: JsonObject, classes: int) -> SelfTest:
    given = value.get("probabilities", list)
    if len(given) != classes or not all(
        type(number) in (int, float) and 0 <= number <= 1 for number in given
    ):
        raise value.wrong("probabilities", f"{classes} numbers from 0 to 1")
    no_novelty = value.place == "self_test." and value.value.get("novelty", "") is None
    novelty = None if no_novelty else value.number("novelty")
    return SelfTest(tuple(map(float, given)), novelty)


def _files(value: JsonObject) -> dict[str, str]:
    if len(value.value) > _MAX_FILES:
        raise BundleError(f"`files` lists {len(value.value)} files; the limit is {_MAX_FILES}.")
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
    """Return whether `name` is a relative path that stays inside its folder on every system.

    Unsafe are absolute paths, ``..``, backslashes, drives and streams (``C:``, ``a:b``), control
    characters, and paths not in their shortest form.
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

    Raises `BundleError` if it is too long, not JSON, or not a manifest.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(
            f"The manifest has more than {MAX_MANIFEST_BYTES:,} bytes; HematoVision writes only a "
            "few thousand. Use another copy of the bundle."
        )
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # invalid UTF-8 or JSON raises ValueError
        raise BundleError(f"The manifest is not JSON: {error}.") from error
    return Manifest.from_json(value)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
