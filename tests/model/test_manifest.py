"""``bundle.json`` is read back as written, and hostile content is rejected."""

import copy
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny_detector
from hematovision.errors import BundleError
from hematovision.images.stain import Stain
from hematovision.model.framing import Framing
from hematovision.model.manifest import (
    MAX_MANIFEST_BYTES,
    SCHEMA_VERSION,
    BackboneRef,
    JsonObject,
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
    outputs={"probabilities": (8,), "novelty": ()},
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


def test_its_keys_are_those_of_schema_3():
    assert MANIFEST.to_json()["schema_version"] == 3
    assert list(MANIFEST.to_json()) == [
        *("schema_version", "task", "name", "created", "taxonomy", "input", "outputs"),
        *("calibration", "thresholds", "backbone", "data", "seed", "options", "versions"),
        *("self_test", "files"),
    ]
    assert MANIFEST.to_json()["backbone"]["file"] == "hematology.weights"


def test_a_newer_schema_asks_for_an_upgrade():
    with pytest.raises(BundleError, match=r"schema 5.*up to 4.*pip install --upgrade"):
        parse_manifest(altered("schema_version", SCHEMA_VERSION + 1))


FRAMING = Framing(3.0, Stain((235.0, 229.0, 225.0), (214.0, 175.0, 172.0)))


NUCLEUS = (110.0, 50.0, 170.0)


@pytest.mark.parametrize(
    "framing",
    [FRAMING, Framing(4.3), Framing(2.8, blur=0.03), replace(FRAMING, nucleus=NUCLEUS)],
)
def test_a_framing_is_read_back_and_needs_schema_4(framing):
    framed = replace(MANIFEST, framing=framing)
    root = framed.to_json()
    assert (root["schema_version"], root["framing"]["red_cell_diameters"]) == (
        4,
        framing.red_cell_diameters,
    )
    assert parse_manifest(framed.to_text().encode()) == framed
    root["schema_version"] = 3
    with pytest.raises(BundleError, match=r"`framing` must be absent .* before schema 4"):
        parse_manifest(json.dumps(root).encode())


def test_a_framing_states_the_colours_of_background_and_red_cell():
    assert FRAMING.to_json() == {
        "red_cell_diameters": 3.0,
        "stain": {"background": [235.0, 229.0, 225.0], "red_cell": [214.0, 175.0, 172.0]},
        "blur": 0.0,
        "nucleus": None,
    }
    assert Framing(3.0).to_json() == {
        "red_cell_diameters": 3.0,
        "stain": None,
        "blur": 0.0,
        "nucleus": None,
    }


@pytest.mark.parametrize(
    ("stain", "nucleus"), [(None, NUCLEUS), (FRAMING.stain, (110.0, 50.0, 256.0))]
)
def test_a_nuclear_colour_needs_a_stain_and_values_up_to_255(stain, nucleus):
    with pytest.raises(BundleError, match=r"three values from 0 to 255, and a stain .* Received"):
        Framing(3.0, stain, nucleus=nucleus)


def test_framings_that_differ_in_the_nucleus_alone_have_different_identities():
    assert replace(FRAMING, nucleus=NUCLEUS).identity != FRAMING.identity


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("red_cell_diameters", 0.5, "1 <= red_cell_diameters <= 20. Received: 0.5"),
        ("red_cell_diameters", 21, "Received: 21"),
        ("red_cell_diameters", "3", "`framing.red_cell_diameters` must be a number"),
        ("red_cell_diameters", None, "`framing.red_cell_diameters` must be a number"),
        ("blur", -0.1, "0 <= blur <= 0.5. Received: -0.1"),
        ("blur", "0.1", "`framing.blur` must be a number"),
        ("nucleus", [1, 2], "`framing.nucleus` must be red, green and blue"),
        ("stain", [1], "`framing.stain` must be a JSON object"),
        ("stain", {"background": [1, 2, 3]}, "`framing.stain.red_cell` is missing"),
        ("stain", {"background": [1, 2]}, "`framing.stain.background` must be red, green and"),
        ("stain", {"background": [1, 2, 256]}, "Received: .1, 2, 256."),
        ("stain", {"background": [1, 2, True]}, "Received: .1, 2, True."),
        ("stain", {"background": [1, 2, 10**400]}, "three numbers from 0 to 255"),
    ],
)
def test_an_invalid_framing_is_rejected_with_the_received_value(key, value, message):
    root = replace(MANIFEST, framing=FRAMING).to_json()
    root["framing"][key] = value
    with pytest.raises(BundleError, match=message):
        parse_manifest(json.dumps(root).encode())


def test_a_detector_has_no_framing():
    root = {**tiny_detector.MANIFEST.to_json(), "schema_version": 4, "framing": FRAMING.to_json()}
    with pytest.raises(BundleError, match="`framing` must be absent from detectors"):
        parse_manifest(json.dumps(root).encode())


@pytest.mark.parametrize(
    "key",
    [
        *("schema_version", "name", "created", "taxonomy", "taxonomy/classes", "taxonomy/aliases"),
        *("input", "input/colour_order", "calibration", "calibration/temperature", "thresholds"),
        *("task", "outputs"),
        *("thresholds/min_confidence", "thresholds/max_novelty", "backbone", "backbone/sha256"),
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
        ("input/size", 31),
        ("calibration/temperature", 0),
        ("calibration/temperature", True),
        ("calibration/temperature", 10**400),
        ("thresholds/min_confidence", 1.01),
        ("thresholds/min_confidence", None),
        ("thresholds/max_novelty", "high"),
        ("thresholds/max_field", "high"),
        ("thresholds/max_field", -1),
        ("thresholds/max_field", None),
        ("backbone/sha256", "A" * 64),
        ("backbone/sha256", "a" * 63),
        ("backbone/file", "../hematology.weights"),
        ("backbone/file", "other.weights"),
        ("backbone/file", 1),
        ("self_test", []),
        ("self_test/probabilities", [0.5] * 7),
        ("self_test/novelty", "high"),
        ("task", "detection"),
        ("task", None),
        ("input/size", 1025),
        ("input/size", True),
        ("input/scaling", 1),
        ("outputs", []),
        ("outputs/probabilities", [8.0]),
        ("outputs/probabilities", ["N", 8]),
        ("outputs/probabilities", [0]),
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
def test_the_self_test_is_optional(value):
    assert parse_manifest(altered("self_test", value)).self_test is None


def test_a_task_of_a_later_version_is_named():
    with pytest.raises(BundleError, match=r"`task` must be 'classification' or 'detection'.*'seg"):
        parse_manifest(altered("task", "segmentation"))


def test_a_model_may_have_no_novelty_score():
    plain = replace(
        MANIFEST, thresholds=Thresholds(0.85, math.inf), self_test=SelfTest((0.125,) * 8, None)
    )
    assert plain.to_json()["thresholds"]["max_novelty"] is None
    assert parse_manifest(plain.to_text().encode()) == plain


def test_a_model_may_have_a_limit_of_the_field_score():
    assert "max_field" not in MANIFEST.to_json()["thresholds"]
    limited = replace(MANIFEST, thresholds=replace(MANIFEST.thresholds, max_field=0.75))
    assert limited.to_json()["thresholds"]["max_field"] == 0.75
    assert parse_manifest(limited.to_text().encode()) == limited


def of_schema_2(**changes: object) -> bytes:
    """The manifest as version 0.2 wrote it."""
    root = MANIFEST.to_json()
    root |= {"schema_version": 2, "review": root["thresholds"], "golden": root["self_test"]}
    for key in ("task", "outputs", "thresholds", "self_test"):
        del root[key]
    return json.dumps(root | changes).encode()


def test_schema_2_is_read():
    assert parse_manifest(of_schema_2()) == replace(MANIFEST, outputs={})


@pytest.mark.parametrize(
    "changes",
    [
        {"review": {"min_confidence": 0.5, "max_novelty": None}},
        {"golden": {"probabilities": [0.125] * 8, "novelty": None}},
        {"input": {**MANIFEST.to_json()["input"], "size": 160}},
        {"input": {**MANIFEST.to_json()["input"], "scaling": "x"}},
    ],
)
def test_in_schema_2_nothing_of_schema_3_is_allowed(changes):
    with pytest.raises(BundleError):
        parse_manifest(of_schema_2(**changes))


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
def test_anything_but_a_manifest_is_a_bundle_error(data):
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
def test_names_that_lead_elsewhere_are_unsafe(name):
    assert not is_safe_name(name)


def test_values_without_a_json_form_are_not_written():
    invalid = Manifest(
        "x", PBC8, MANIFEST.thresholds, MANIFEST.backbone, options={"rate": float("nan")}
    )
    with pytest.raises(BundleError, match="JSON"):
        invalid.to_text()


ROOT = JsonObject({"name": "x", "limits": {"novelty": 2, "on": True, "far": 10**400}}, "")


def test_values_of_the_right_type_are_returned():
    assert ROOT.get("name", str) == "x"
    assert ROOT.object("limits").number("novelty") == 2.0


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("missing", r"`limits\.missing` is missing; it must be a number"),
        ("on", r"`limits\.on` must be a number\. Received: True"),
        ("far", r"`limits\.far` must be a finite number"),
    ],
)
def test_an_invalid_number_is_named_with_its_place(key: str, message: str):
    with pytest.raises(BundleError, match=message):
        ROOT.object("limits").number(key)


def test_true_is_not_an_integer_and_text_not_an_object():
    with pytest.raises(BundleError, match=r"`limits\.on` must be of type int"):
        ROOT.object("limits").get("on", int)
    with pytest.raises(BundleError, match="`name` must be a JSON object"):
        ROOT.object("name")


def test_a_list_is_not_an_object():
    with pytest.raises(BundleError, match=r"The document must be a JSON object\. Received: list"):
        JsonObject([], "")
