"""``bundle.json`` is read back as written, and nothing hostile in it gets through."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hematovision.errors import BundleError
from hematovision.model.manifest import (
    MAX_MANIFEST_BYTES,
    SCHEMA_VERSION,
    BackboneRef,
    Manifest,
    is_safe_name,
    parse_manifest,
)
from hematovision.model.self_test import SelfTest
from hematovision.model.thresholds import Thresholds
from hematovision.taxonomy import PBC8

MANIFEST = Manifest(
    name="eight",
    taxonomy=PBC8,
    temperature=1.3,
    thresholds=Thresholds(0.85, 2.25),
    backbone=BackboneRef("hematology", "a" * 64, shared=True),
    data={"fingerprint": "b" * 64, "splits": {"train": 10}},
    seed=7,
    options={"epochs": 15, "fine_tune": False},
    versions={"numpy": "2"},
    created="2026-01-01T00:00:00+00:00",
    files={"hematovision_model.onnx": "c" * 64},
    self_test=SelfTest((0.125,) * 8, 1.5),
)


def altered(path: str, value: object) -> bytes:
    """The manifest with one value replaced (or, for ``...``, removed)."""
    root = copy.deepcopy(MANIFEST.to_json())
    *parents, last = path.split("/")
    place = root
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(root).encode()


def test_it_is_read_back_as_written():
    assert parse_manifest(MANIFEST.to_text().encode()) == MANIFEST


def test_its_keys_are_those_of_schema_2():
    assert SCHEMA_VERSION == 2
    assert list(MANIFEST.to_json()) == [
        *("schema_version", "name", "created", "taxonomy", "input", "calibration", "review"),
        *("backbone", "data", "seed", "options", "versions", "golden", "files"),
    ]
    assert MANIFEST.to_json()["backbone"]["file"] == "hematology.weights"


def test_a_newer_schema_says_to_upgrade():
    with pytest.raises(BundleError, match=r"schema 3.*up to 2.*pip install --upgrade"):
        parse_manifest(altered("schema_version", 3))


@pytest.mark.parametrize(
    "key",
    [
        *("schema_version", "name", "created", "taxonomy", "taxonomy/classes", "taxonomy/aliases"),
        *("input", "input/colour_order", "calibration", "calibration/temperature", "review"),
        *("review/min_confidence", "review/max_novelty", "backbone", "backbone/sha256"),
        *("backbone/name", "data", "options", "versions", "files"),
    ],
)
def test_a_missing_key_is_named(key):
    with pytest.raises(BundleError, match=f"`{key.replace('/', '.')}` (is missing|must be)"):
        parse_manifest(altered(key, ...))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema_version", "1"),
        ("schema_version", True),
        ("schema_version", 0),
        ("name", 5),
        ("seed", "x"),
        ("taxonomy", []),
        ("taxonomy/name", None),
        ("taxonomy/classes", "RBC"),
        ("taxonomy/classes", ["one"]),
        ("taxonomy/classes", ["one", 2]),
        ("taxonomy/classes", ["one", "ONE"]),
        ("taxonomy/classes", ["one", "two", "one"]),
        ("taxonomy/classes", ["one", "two", "two"]),
        ("taxonomy/classes", ["one", ""]),
        ("taxonomy/classes", ["one", " "]),
        ("taxonomy/classes", ["one", "t\x1b[2Kwo"]),
        ("taxonomy/classes", ["one", "t\nwo"]),
        ("taxonomy/classes", ["one", "t\u2028wo"]),
        ("taxonomy/classes", ["one", "\u202eowt"]),
        ("taxonomy/classes", ["one", "two" * 100]),
        ("taxonomy/classes", [f"class {i}" for i in range(1001)]),
        ("taxonomy/aliases", {"ig": "text"}),
        ("taxonomy/aliases", {"ig": [1]}),
        ("input/colour_order", "BGR"),
        ("input/size", 160),
        ("calibration/temperature", 0),
        ("calibration/temperature", True),
        ("calibration/temperature", 10**400),
        ("review/min_confidence", 1.01),
        ("review/min_confidence", None),
        ("review/max_novelty", "high"),
        ("backbone/sha256", "A" * 64),
        ("backbone/sha256", "a" * 63),
        ("backbone/file", "../hematology.weights"),
        ("backbone/file", "other.weights"),
        ("backbone/file", 1),
        ("golden", []),
        ("golden/probabilities", [0.5] * 7),
        ("golden/novelty", None),
        ("files", ["a"]),
        ("files", {"a": "b"}),
        ("files", {"../a": "a" * 64}),
        ("files", {f"file {i}": "a" * 64 for i in range(1001)}),
    ],
)
def test_a_value_that_cannot_be_right_is_refused(key, value):
    with pytest.raises(BundleError):
        parse_manifest(altered(key, value))


@pytest.mark.parametrize("value", [..., None])
def test_a_bundle_of_schema_1_has_no_golden_answer(value):
    assert parse_manifest(altered("golden", value)).self_test is None


def test_a_missing_seed_is_none():
    assert parse_manifest(altered("seed", None)).seed is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"schema_version": NaN}',
        b'{"schema_version": 1' + b"0" * 5000 + b"}",
        b" " * (MAX_MANIFEST_BYTES + 1),
    ],
)
def test_what_is_no_manifest_is_a_bundle_error(data):
    with pytest.raises(BundleError):
        parse_manifest(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
KEYS = [
    f"{key}/{inner}"
    for key, value in MANIFEST.to_json().items()
    if isinstance(value, dict)
    for inner in value
]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([*MANIFEST.to_json(), *KEYS]), JSON)
def test_any_value_anywhere_is_accepted_or_a_bundle_error(key, value):
    try:
        manifest = parse_manifest(altered(key, value))
    except BundleError:
        return
    assert parse_manifest(manifest.to_text().encode()) == manifest


@pytest.mark.parametrize("name", ["a.csv", "figures/roc.svg", "été.md", ".hidden", "a b"])
def test_plain_names_are_safe(name):
    assert is_safe_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../a", "a/../b", "/etc/passwd", "a//b", "./a", "a/", "C:a", "C:\\a"),
        *("..\\a", "a\x00b", "a\nb", "a" * 256, "\\\\host\\a", "a:b"),
    ],
)
def test_names_that_lead_elsewhere_are_not(name):
    assert not is_safe_name(name)


def test_what_json_cannot_say_is_not_written():
    strange = Manifest(
        "x", PBC8, MANIFEST.thresholds, MANIFEST.backbone, options={"rate": float("nan")}
    )
    with pytest.raises(BundleError, match="JSON"):
        strange.to_text()
