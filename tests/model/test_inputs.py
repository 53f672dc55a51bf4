"""Every kind of input becomes named items, lazily; anything else names the right call."""

import io
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hematovision import images
from hematovision.data.samples import Dataset, Sample
from hematovision.errors import DatasetError, NotAnImageError, TooManyPixelsError
from hematovision.model.inference import Item
from hematovision.model.inputs import items
from hematovision.taxonomy import RBC_WBC_PLATELETS


class BytesPath:
    def __fspath__(self) -> bytes:
        return b"cells/a.png"


RED = np.full((9, 9, 3), (250, 0, 0), np.uint8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three images in two folders, and a note; the current folder is the one above."""
    for name in ("cells/a.png", "cells/more/b.png", "cells/more/c[1].png"):
        images.write(tmp_path / name, RED)
    (tmp_path / "cells" / "notes.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(given: object) -> list[str]:
    return [Path(item.name).as_posix() for item in items(given)]


ALL = ["cells/a.png", "cells/more/b.png", "cells/more/c[1].png"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("cells/a.png", ["cells/a.png"]),
        (Path("cells/a.png"), ["cells/a.png"]),
        ("cells", ALL),
        (Path("cells"), ALL),
        ("cells/*.png", ["cells/a.png"]),
        ("cells/**/*.png", ALL),
        ("cells/*", ["cells/a.png", *ALL[1:], "cells/notes.txt"]),
        ("c?lls/[a-b].png", ["cells/a.png"]),
        ("cells/more/c[1].png", ["cells/more/c[1].png"]),
        ("nowhere.png", ["nowhere.png"]),
        (b"content", ["image 0"]),
        (bytearray(b"content"), ["image 0"]),
        (RED, ["image 0"]),
        (np.stack([RED, RED]), ["image 0", "image 1"]),
        (np.zeros((0, 9, 9, 3), np.uint8), []),
        (Image.fromarray(RED), ["image 0"]),
        ([], []),
        (["cells/a.png", b"x", RED], ["cells/a.png", "image 1", "image 2"]),
        (["cells", RED, "cells/more/*"], [*ALL, "image 3", *ALL[1:]]),
        ({"cells/a.png"}, ["cells/a.png"]),
        (np.array(["cells/a.png", "b.png"]), ["cells/a.png", "b.png"]),
        (BytesPath(), ["cells/a.png"]),
        ((name for name in ALL), ALL),
    ],
)
def test_an_input_becomes_named_items(folder: Path, given: object, expected: list[str]):
    assert names(given) == expected


def test_sources_are_what_was_given(folder: Path):
    (array,) = items(RED)
    assert array.source is RED, "not copied"
    (content,) = items(memoryview(b"content"))
    assert content == Item("image 0", b"content")
    (path,) = items("cells/a.png")
    assert path.source == Path("cells/a.png")


def test_a_pillow_image_is_converted_and_has_the_name_of_its_file(folder: Path):
    with Image.open("cells/a.png") as opened:
        found, copy = items([opened, opened.copy()])
    assert (found.name, copy.name) == ("cells/a.png", "image 1")
    np.testing.assert_array_equal(found.source, RED)
    np.testing.assert_array_equal(copy.source, RED)


def test_a_pillow_image_that_cannot_be_read_becomes_an_error():
    bad, large, good = items(
        [Image.new("F", (9, 9)), Image.new("RGB", (20, 20)), Image.fromarray(RED)], max_pixels=399
    )
    assert isinstance(bad.source, NotAnImageError)
    assert isinstance(large.source, TooManyPixelsError)
    assert str(bad.source).startswith("image 0: ")
    assert isinstance(good.source, np.ndarray)


def test_an_array_has_the_limits_of_a_file():
    wide, large, good = items(
        [np.zeros((1, 101, 3), np.uint8), np.zeros((11, 11, 3), np.uint8), RED], max_pixels=120
    )
    assert isinstance(wide.source, TooManyPixelsError)
    assert "one side may be at most 100 times the other" in str(wide.source)
    assert isinstance(large.source, TooManyPixelsError)
    assert good.source is RED
    assert "image 1: it declares 11 x 11 = 121 pixels; the limit is 120" in str(large.source)


def test_a_generator_is_read_as_it_is_needed():
    taken = []

    def endless():
        for number in itertools.count():
            taken.append(number)
            yield RED

    found = items(endless())
    assert not taken
    assert [next(found).name, next(found).name] == ["image 0", "image 1"]
    assert taken == [0, 1]


def test_what_is_not_there_is_an_error(folder: Path):
    with pytest.raises(DatasetError, match=r"No file matches the pattern 'cells/\*\.tif'"):
        list(items("cells/*.tif"))
    (folder / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"no images in the folder empty"):
        list(items(["cells", "empty"]))
    with pytest.raises(ValueError, match="must not be empty"):
        items("")


SAMPLE = Sample(Path("a.png"), "RBC")


@pytest.mark.parametrize(
    ("given", "received"),
    [
        (5, r"must be a path, a folder, a glob, .* Received: int\."),
        (None, r"Received: NoneType\. OpenCV returns None for a file that it can't read"),
        ([RED, 5], r"Received in the iterable: int\."),
        ([["a.png"]], r"Received in the iterable: list\. Pass one flat list"),
        (RED.tolist(), r"Received in the iterable: list\. .* numpy\.array\(image, 'uint8'\)"),
        (memoryview(RED), r"Received: memoryview\. .* numpy\.asarray\(image\)"),
        (np.array("a.png"), r"Received: ndarray\. .* images\.ravel\(\)\.tolist\(\)"),
        (np.array([["a.png"]]), r"Received: ndarray\. .* images\.ravel\(\)\.tolist\(\)"),
        (np.array([RED, RED], object), r"Received: ndarray\. .* images\.astype\('uint8'\)"),
        ({"a": RED}, r"Received: dict\. Pass its values: list\(images\.values\(\)\)\."),
        (io.BytesIO(b"x"), r"Received: BytesIO\. Pass the content of an open file: file\.read\(\)"),
        (SAMPLE, r"Received: Sample\. Pass its path"),
        (
            Dataset(Path(), RBC_WBC_PLATELETS, (SAMPLE,)),
            r"Received: Dataset\. To evaluate .* hematovision\.evaluate\(.*\[sample\.path for",
        ),
        (
            SimpleNamespace(__array__=None, ndim=3),
            r"Received: SimpleNamespace\. Convert it to a NumPy array: numpy\.asarray\(image\)",
        ),
        (
            RED / 255,
            r"uint8 of shape \(H, W, 3\), .* float64 of shape \(9, 9, 3\)\. Multiply by 255",
        ),
        (RED.astype(np.float32), r"float32 .* image\.round\(\)\.clip\(0, 255\)"),
        (np.full((9, 9, 3), np.nan), r"float64 .* Scale to 0 to 255 .* not finite"),
        (RED / 127.5 - 1, r"float64 .* Scale to 0 to 255 .* negative"),
        (RED.astype(np.uint16), r"uint16 .*\(image / 65535 \* 255\)"),
        (RED.astype(np.int64), r"int64 .* image\.astype\('uint8'\)"),
        (RED > 9, r"bool .* Multiply by 255"),
        (RED[..., 0], r"of shape \(9, 9\)\. .*np\.stack\(\[image\] \* 3, axis=-1\)"),
        (RED.transpose(2, 0, 1), r"of shape \(3, 9, 9\)\. .*image\.transpose\(1, 2, 0\)"),
        (np.stack([RED.transpose(2, 0, 1)] * 2), r"image\.transpose\(0, 2, 3, 1\)"),
        (RED[..., :1], r"of shape \(9, 9, 1\)\. .*np\.repeat\(image, 3, axis=-1\)"),
        (np.zeros((9, 9, 4), np.uint8), r"PIL\.Image\.fromarray\(image\)"),
        (np.zeros((2, 9, 9, 4), np.uint8), r"\[PIL\.Image\.fromarray\(one\) for one in images\]"),
        (np.array(3), r"of shape \(\)\. Pass each image by itself, with three channels"),
        (np.arange(9), r"of shape \(9,\)\. Pass each image by itself, with three channels"),
        (np.zeros((0, 9, 3), np.uint8), r"It has no pixels"),
        (np.zeros((9, 9, 5), np.uint8), r"three channels last"),
    ],
)
def test_a_wrong_type_names_what_is_accepted_what_came_and_the_right_call(
    given: object, received: str
):
    with pytest.raises(TypeError, match=received):
        list(items(given))


@pytest.mark.parametrize(
    "call",
    [
        lambda: (255 * (RED / 255)).round().astype("uint8"),
        lambda: np.stack([RED[..., 0]] * 3, axis=-1),
        lambda: np.repeat(RED[..., :1], 3, axis=-1),
        lambda: [Image.fromarray(one) for one in np.zeros((1, 9, 9, 4), np.uint8)],
        lambda: np.array(b"x").ravel().tolist(),
        lambda: np.array([RED], object).astype("uint8"),
        lambda: np.asarray(memoryview(RED)),
        lambda: RED.transpose(2, 0, 1).transpose(1, 2, 0),
        lambda: Image.fromarray(np.dstack([RED, RED[..., :1]])),
    ],
)
def test_the_advised_calls_work(call):
    assert names(call()) == ["image 0"]
