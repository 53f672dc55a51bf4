"""Uploads: each yields rows or a clear error, whatever it contains."""

import copy
import io
import stat
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from archive_files import zip_of
from colour_squares import COLOUR_MODEL
from dots import DotCounter, png
from hematovision.errors import ImageError
from hematovision.images import encode_png
from hematovision.model.classifier import Classifier
from hematovision.model.inference import Item
from hematovision.uploads.receiving import (
    Limits,
    display_name,
    expected,
    predict_uploads,
    receive,
)
from hematovision.workflows.classify import classify


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(COLOUR_MODEL, workers=2)


@pytest.fixture(scope="module")
def red() -> bytes:
    image = np.full((40, 40, 3), 10, np.uint8)
    image[..., 0] = 200
    return encode_png(image)


def received(*uploads, **limits) -> list[Item]:
    return list(receive(uploads, Limits(**limits)))


def names(items) -> list[str]:
    return [item.name for item in items if isinstance(item.source, bytes)]


def reasons(items) -> dict[str, str]:
    return {item.name: item.source.reason for item in items if isinstance(item.source, ImageError)}


def patched(data: bytes, signature: bytes, offset: int, layout: str, value: int) -> bytes:
    """A zip with one number changed in each header that begins with `signature`."""
    changed, place = bytearray(data), data.find(signature)
    while place >= 0:
        struct.pack_into(layout, changed, place + offset, value)
        place = data.find(signature, place + 1)
    return bytes(changed)


def test_files_are_received_unchanged_from_bytes_and_streams(red):
    stream = io.BytesIO(red)
    stream.seek(7)  # Read before.
    assert received(("a.png", red), ("b.png", stream)) == [
        Item("a.png", red),
        Item("b.png", red),
    ]
    assert not stream.closed


def test_a_zip_is_recognised_by_its_content_and_yields_its_files_one_by_one(red):
    packed = zip_of({"cells/": b"", "cells/1.png": red, "cells/2.png": b"second"})
    items = received(("a.png", red), ("cells.jpg", packed))
    assert items[1:] == [
        Item("cells \u203a 1.png", red),
        Item("cells \u203a 2.png", b"second"),
    ]


def test_a_file_that_is_only_named_zip_is_an_ordinary_file():
    assert received(("cells.zip", b"<html>")) == [Item("cells.zip", b"<html>")]


def test_entries_that_macos_adds_are_left_out(red):
    packed = zip_of({"a.png": red, "__MACOSX/._a.png": b"x", ".DS_Store": b"x", "._a.png": b"x"})
    assert received(("cells.zip", packed)) == [Item("a.png", red)]


def test_uploads_are_received_one_at_a_time(red):
    taken = []
    uploads = (taken.append(i) or (f"{i}.png", red) for i in range(5))
    items = receive(uploads)
    next(items)
    assert taken == [0]


def test_images_of_an_archive_are_not_in_memory_together():
    noise = np.random.default_rng(0).bytes(2**20)
    packed = io.BytesIO(zip_of({f"{i}.png": noise for i in range(24)}))
    tracemalloc.start()
    try:
        assert sum(len(item.source) for item in receive([("c.zip", packed)])) == 24 * 2**20
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * 2**20


# Limits


def test_the_limit_on_files_applies_to_all_uploads_together(red):
    packed = zip_of({"1.png": red, "2.png": red})
    items = received(("a.png", red), ("c.zip", packed), ("b.png", red), files=2)
    assert names(items) == ["a.png", "1.png"]
    assert list(reasons(items)) == ["2.png", "b.png"]
    assert "at most 2 files are accepted at once" in reasons(items)["b.png"]


def test_an_archive_of_more_files_than_the_limit_is_refused_whole():
    packed = zip_of({f"{i}.png": b"x" for i in range(3)})
    assert "has 3 entries; at most 2 files" in reasons(received(("c", packed), files=2))["c"]


def test_ten_thousand_entries_are_refused_before_they_are_listed(monkeypatch):
    packed = zip_of({f"{i}.png": b"" for i in range(10_000)})
    monkeypatch.setattr(zipfile, "ZipFile", None)  # Else it would be called, and fail.
    items = received(("many.zip", packed))
    assert len(items) == 1
    assert "has 10,000 entries; at most 2,000 files" in items[0].source.reason


def test_entries_are_counted_across_the_blocks_that_are_read(red):
    padding = {"pad": np.random.default_rng(0).bytes(2**20 - 60)}
    packed = zip_of({**padding, **{f"{i}": b"" for i in range(4000)}})
    assert "has 4,001 entries" in received(("c.zip", packed), files=1000)[0].source.reason


def test_a_file_over_the_limit_is_an_error_and_smaller_ones_are_received(red):
    packed = zip_of({"large.png": bytes(2000), "small.png": b"small"})
    items = received(("large.png", bytes(1001)), ("c.zip", packed), file_bytes=1000)
    assert names(items) == ["small.png"]
    assert "has 1,001 bytes; the limit is 1,000" in items[0].source.reason
    assert "has 2,000 bytes" in items[1].source.reason


def test_the_bytes_of_all_files_together_are_limited():
    uploads = [("a", bytes(600)), ("b", zip_of({"c": b"x" * 500, "d": b"x" * 300})), ("e", b"1")]
    items = received(*uploads, total_bytes=1000)
    assert names(items) == ["a", "d", "e"]
    assert "at most 1,000 unpacked bytes" in reasons(items)["c"]


# Hostile archives


@pytest.mark.parametrize(
    "files",
    [
        {"zeros.png": bytes(40_000_000)},
        {f"{i}.png": bytes(2_000_000) for i in range(20)},
    ],
    ids=["one entry", "many entries"],
)
def test_a_zip_bomb_is_refused_whole_and_the_others_are_received(red, files):
    items = received(("bomb.zip", zip_of(files)), ("a.png", red))
    assert names(items) == ["a.png"]
    assert "would unpack to 40,000,000, like a decompression bomb" in reasons(items)["bomb.zip"]


def test_entries_that_share_their_data_are_refused_whole(red):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", red)
        for name in ("b.png", "c.png"):
            again = copy.copy(archive.filelist[0])
            again.filename = again.orig_filename = name
            archive.filelist.append(again)
    items = received(("bomb.zip", buffer.getvalue()))
    assert len(items) == 1
    assert "overlap" in items[0].source.reason


def test_an_entry_that_is_longer_than_it_declares_is_refused_unread():
    packed = zip_of({"a.png": bytes(4_000_000), "b.png": b"b"})
    first = packed.index(b"PK\x01\x02")
    lying = bytearray(packed)
    struct.pack_into("<L", lying, first + 24, 1000)
    tracemalloc.start()
    try:
        items = received(("lying.zip", bytes(lying)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert names(items) == ["b.png"]
    assert "damaged in the archive" in reasons(items)["a.png"]
    assert peak < 2**20


def test_an_entry_that_is_shorter_than_it_declares_is_refused():
    packed = patched(zip_of({"a.png": b"abc"}), b"PK\x01\x02", 24, "<L", 1000)
    assert "1,000 bytes that the archive declares" in reasons(received(("c.zip", packed)))["a.png"]


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "x/../../a.png", "C:\\a.png", "a:b"])
def test_a_name_that_leads_outside_is_rejected_and_the_rest_received(red, name):
    items = received(("c.zip", zip_of({name: b"evil", "good.png": red})))
    assert names(items) == ["good.png"]
    assert "leads out of the folder" in items[0].source.reason
    assert not set(items[0].name) & set("/\\")


def test_links_are_refused(red):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a.png", red)
    items = received(("c.zip", buffer.getvalue()))
    assert names(items) == ["a.png"]
    assert "a link or a device" in reasons(items)["link.png"]


def test_encrypted_entries_are_refused():
    packed = patched(zip_of({"a.png": b"abc"}), b"PK\x01\x02", 8, "<H", 1)
    assert "without a password" in reasons(received(("c.zip", packed)))["a.png"]


@pytest.mark.parametrize(
    ("method", "kind"), [(zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "LZMA")]
)
def test_compression_without_bounded_blocks_is_refused(method, kind):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a.png", bytes(10_000_000))
    assert f"packed with {kind}" in reasons(received(("c", buffer.getvalue())))["a.png"]


def test_archives_in_archives_are_refused(red):
    packed = zip_of({"inner.png": zip_of({"a.png": red}), "b.png": red})
    items = received(("c.zip", packed))
    assert names(items) == ["b.png"]
    assert "an archive inside an archive" in reasons(items)["inner.png"]


def test_damaged_and_empty_archives_are_refused(red):
    good = zip_of({"a.png": red})
    broken = bytearray(good)
    broken[60] ^= 255
    items = received(("cut.zip", good[:-30]), ("none.zip", zip_of({})), ("bad.zip", bytes(broken)))
    assert names(items) == []
    assert "damaged or incomplete" in reasons(items)["cut.zip"]
    assert "contains no files" in reasons(items)["none.zip"]
    assert "damaged in the archive" in reasons(items)["a.png"]


def test_an_upload_that_cannot_be_read_is_refused():
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError("the disk is gone")

    assert "the disk is gone" in received(("a.png", Broken()))[0].source.reason
    assert expected([("a.png", Broken())]) == 1


# Names


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("cell 1.png", "cell 1.png"),
        ("Zelle_äöü_赤血球.png", "Zelle_äöü_赤血球.png"),
        ("../../etc/passwd", "etc \u203a passwd"),
        ("C:\\cells\\a.png", "C: \u203a cells \u203a a.png"),
        ("exe\u202egnp.jpg", "exegnp.jpg"),
        ("a\x00b\x1b[31m.png", "ab[31m.png"),
        ("two\nlines\tand\u2028more.png", "two lines and more.png"),
        ("\ud800.png", "?.png"),
        ("", "unnamed"),
        ("../", "unnamed"),
        ("\u200b", "unnamed"),
    ],
)
def test_names_are_made_safe_to_show(given, shown):
    assert display_name(given) == shown


def test_a_long_name_keeps_its_beginning_and_its_suffix():
    shown = display_name("a" * 5000 + ".png")
    assert len(shown) == 120
    assert shown.startswith("aaaa")
    assert shown.endswith("a.png")


# Predictions


def test_predictions_equal_those_of_classify_on_the_same_files(classifier, red, tmp_path: Path):
    class Kept(list):
        write, finish = list.append, list.clear

    contents = {"cut.png": red[:50], "notes.txt": b"not an image", "red.png": red}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    files = sorted(tmp_path.iterdir())
    kept = Kept()
    classify(files, model=COLOUR_MODEL, also=lambda classifier: kept)
    uploads = [(str(path), path.read_bytes()) for path in files]
    results = list(predict_uploads(classifier, receive(uploads)))
    assert [one.prediction.values() | {"path": ""} for one in results] == [
        row | {"path": ""} for row in kept
    ]
    assert [one.prediction.decision for one in results].count("refused") == 2
    for path, one in zip(files, results, strict=True):
        assert one.source == path.read_bytes()
        assert one.name == one.prediction.path == display_name(str(path))


def test_every_kind_of_broken_upload_has_an_error(classifier, red):
    bomb = zip_of({"zeros.png": bytes(40_000_000)})
    uploads = [
        ("page.png", b"<!DOCTYPE html><html></html>"),
        ("empty.png", b""),
        ("cut.png", red[:50]),
        ("bomb.zip", bomb),
        ("good.png", red),
    ]
    results = {one.name: one for one in predict_uploads(classifier, receive(uploads))}
    decisions = {name: one.prediction.decision for name, one in results.items()}
    assert decisions == {**dict.fromkeys(results, "refused"), "good.png": "accepted"}
    errors = {name: one.prediction.error for name, one in results.items()}
    assert 'its content is not an image (it begins with "<!DOCTYP")' in errors["page.png"]
    assert "empty (0 bytes)" in errors["empty.png"]
    assert errors["cut.png"]
    assert "decompression bomb" in errors["bomb.zip"]
    assert results["bomb.zip"].source is results["bomb.zip"].error
    assert results["cut.png"].source == red[:50]


def test_rows_of_any_predictor_are_in_the_order_of_the_uploads():
    packed = zip_of({"three.png": png(0, 2, 7), "none.png": png()})
    uploads = [("one.png", png(3)), ("c.zip", packed), ("text.png", b"no image")]
    results = list(predict_uploads(DotCounter(), receive(uploads)))
    assert [(one.name, len(one.rows)) for one in results] == [
        ("one.png", 1),
        ("three.png", 3),
        ("none.png", 0),
        ("text.png", 1),
    ]
    assert [row.x for one in results for row in one.rows] == [3, 0, 2, 7, None]
    assert results[-1].prediction.error == results[-1].error.reason


def test_progress_has_the_total_before_anything_is_unpacked(classifier, red):
    uploads = [
        ("a.png", red),
        ("c.zip", zip_of({"b.png": red, "c.png": red})),
        ("d.zip", b"PK\3\4"),
    ]
    seen = []
    total = expected(uploads)
    results = predict_uploads(
        classifier, receive(uploads), total=total, progress=lambda *args: seen.append(args)
    )
    assert len(list(results)) == total == 4
    assert seen == [(done, 4, "Classifying", "images") for done in range(1, 5)]


def test_without_a_total_progress_counts_the_images_so_far(classifier, red):
    seen = []
    uploads = receive([("a.png", red)] * 2)
    list(predict_uploads(classifier, uploads, progress=lambda *args: seen.append(args)))
    assert seen == [(1, 1, "Classifying", "images"), (2, 2, "Classifying", "images")]
