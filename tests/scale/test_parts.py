"""A table in parts: complete parts only, and each image in one of them."""

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hematovision.errors import OutputError
from hematovision.model.prediction import Prediction, prediction_schema
from hematovision.scale.addresses import ImageFile
from hematovision.scale.parts import JOB, Part, open_parts, part_name, write_part

CLASSES = ("RBC", "WBC")
IDENTITY = {"model": "m" * 64, "backbone": "b" * 64, "columns": ["path"]}


def files(*names: str, stamp: str = "1 1") -> list[ImageFile]:
    return [ImageFile(name, name, stamp=stamp) for name in names]


def accepted(name: str) -> Prediction:
    return Prediction(name, CLASSES, "RBC", (0.75, 0.25), 0.75, 0.9, "accepted")


def write(folder: Path, number: int, *names: str, unread: int = 0, stamp: str = "1 1") -> Part:
    some = files(*names, stamp=stamp)
    rows = [
        Prediction.refused(n, CLASSES, "broken") if n.startswith("bad") else accepted(n)
        for n in names
    ]
    return write_part(
        str(folder),
        part_name(number, some),
        {s.name: s.stamp for s in some},
        [row.values() for row in rows],
        prediction_schema(CLASSES),
        unread,
    )


def test_the_folder_reads_as_one_table(tmp_path: Path):
    out = tmp_path / "out"
    with open_parts(str(out), IDENTITY, resume=False):
        write(out, 0, "a", "bad")
        write(out, 1, "c")
    rows = pq.read_table(out).to_pylist()
    assert [row["path"] for row in rows] == ["a", "bad", "c"]
    assert rows[0] == {
        "path": "a",
        "label": "RBC",
        "confidence": 0.75,
        "decision": "accepted",
        "reason": "",
        "novelty": 0.9,
        "p_RBC": 0.75,
        "p_WBC": 0.25,
        "error": "",
    }
    assert rows[1]["error"] == "broken"
    assert rows[1]["confidence"] is None


def test_written_parts_are_found_again(tmp_path: Path):
    with open_parts(str(tmp_path), IDENTITY, resume=True) as parts:
        written = write(tmp_path, 3, "a", "bad", "c")
        assert parts.done(files("a", "bad", "c", "d")) == [written]
        assert parts.next_number() == 4
    assert written.counts == {("RBC", "accepted"): 2, ("", "refused"): 1}
    assert written.errors == (("bad", "broken"),)


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (files("a"), "an image is gone"),
        (files("a", "b", stamp="2 2"), "an image has changed"),
    ],
)
def test_a_part_that_is_not_done_is_deleted(tmp_path: Path, now, why: str):
    with open_parts(str(tmp_path), IDENTITY, resume=True) as parts:
        write(tmp_path, 0, "a", "b")
        assert parts.done(now) == [], why
        assert parts.names() == []


def test_a_table_for_other_images_is_not_changed(tmp_path: Path):
    with open_parts(str(tmp_path), IDENTITY, resume=True) as parts:
        name = write(tmp_path, 0, "a", "b").name
        with pytest.raises(OutputError, match="rows for other images, such as a"):
            parts.done(files("x", "y"))
        assert parts.names() == [name]


def test_a_part_with_images_that_could_not_be_fetched_is_done_again(tmp_path: Path):
    with open_parts(str(tmp_path), IDENTITY, resume=True) as parts:
        write(tmp_path, 0, "a", "bad", unread=1)
        kept = write(tmp_path, 1, "c", "bad2")
        assert parts.done(files("a", "bad", "c", "bad2")) == [kept]


def test_an_image_in_two_parts_stays_in_the_first(tmp_path: Path):
    with open_parts(str(tmp_path), IDENTITY, resume=True) as parts:
        first = write(tmp_path, 0, "a", "b")
        write(tmp_path, 1, "b", "c")
        assert parts.done(files("a", "b", "c")) == [first]
        assert parts.names() == [first.name]


@pytest.mark.parametrize("rubbish", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_a_damaged_part_is_deleted(tmp_path: Path, rubbish: bytes):
    with open_parts(str(tmp_path), IDENTITY, resume=True) as parts:
        name = write(tmp_path, 0, "a").name
        (tmp_path / name).write_bytes(rubbish)
        assert parts.done(files("a")) == []
        assert not (tmp_path / name).exists()


def test_a_parquet_file_of_another_program_is_not_done(tmp_path: Path):
    import pyarrow as pa

    with open_parts(str(tmp_path), IDENTITY, resume=True) as parts:
        pq.write_table(pa.table({"x": [1]}), tmp_path / "part-000000-0123456789ab.parquet")
        assert parts.done(files("a")) == []


def test_other_files_are_kept_and_incomplete_ones_deleted(tmp_path: Path):
    with open_parts(str(tmp_path), IDENTITY, resume=True):
        pass
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "_unfinished-0123").write_bytes(b"half")
    with open_parts(str(tmp_path), IDENTITY, resume=True) as parts:
        assert parts.done(files("a")) == []
    assert (tmp_path / "notes.txt").exists()
    assert not (tmp_path / "_unfinished-0123").exists()


def test_a_folder_in_use_is_not_overwritten(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("x")
    with (
        pytest.raises(OutputError, match="not empty; it was not changed"),
        open_parts(str(tmp_path), IDENTITY, resume=False),
    ):
        pass


def test_two_processes_do_not_write_one_table(tmp_path: Path):
    with (
        open_parts(str(tmp_path), IDENTITY, resume=True),
        pytest.raises(OutputError, match="Another process"),
        open_parts(str(tmp_path), IDENTITY, resume=True),
    ):
        pass


def test_rows_of_another_model_are_not_mixed_in(tmp_path: Path):
    with open_parts(str(tmp_path), IDENTITY, resume=False):
        pass
    other = {**IDENTITY, "model": "n" * 64}
    with (
        pytest.raises(OutputError, match=r"different settings \(model\)"),
        open_parts(str(tmp_path), other, resume=True),
    ):
        pass


def test_parts_without_their_model_are_not_added_to(tmp_path: Path):
    write(tmp_path, 0, "a")
    with (
        pytest.raises(OutputError, match=JOB),
        open_parts(str(tmp_path), IDENTITY, resume=True),
    ):
        pass


def test_the_job_file_names_the_model(tmp_path: Path):
    with open_parts(str(tmp_path), IDENTITY, resume=False):
        pass
    assert json.loads((tmp_path / JOB).read_text())["model"] == "m" * 64


def test_a_table_can_be_at_a_uri(tmp_path: Path):
    uri = (tmp_path / "out").as_uri()
    with open_parts(uri, IDENTITY, resume=False) as parts:
        some = files("a")
        write_part(
            uri,
            part_name(0, some),
            {"a": "1 1"},
            [accepted("a").values()],
            prediction_schema(CLASSES),
            0,
        )
        assert len(parts.done(some)) == 1


def test_the_name_of_a_part_follows_from_its_images():
    assert part_name(7, files("a")).startswith("part-000007-")
    assert part_name(7, files("a")) == part_name(7, files("a"))
    assert part_name(7, files("a")) != part_name(7, files("a", stamp="2 2"))
    assert part_name(7, files("a")) != part_name(7, files("b"))


def test_a_part_that_cannot_be_written_is_named_in_the_error(tmp_path: Path):
    (tmp_path / "out").write_text("a file is in the way")
    with pytest.raises(OutputError, match="part-000000"):
        write(tmp_path / "out", 0, "a")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_that_is_not_utf_8_is_written_escaped_and_found_again(tmp_path: Path):
    names = ("caf\udce9.png", r"caf\xe9.png", "new\nline.png")
    with open_parts(str(tmp_path), IDENTITY, resume=True) as parts:
        part = write(tmp_path, 0, *names)
        (found,) = parts.done(files(*names))
    table = pq.read_table(tmp_path / part.name).column("path").to_pylist()
    assert table == [r"caf\xe9.png", r"caf\x5cxe9.png", r"new\x0aline.png"]
    assert dict(found.stamps) == dict(part.stamps)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other links")
def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "_running").symlink_to(tmp_path / "precious")
    with (
        pytest.raises(OutputError, match="_running is a link"),
        open_parts(str(tmp_path / "out"), IDENTITY, resume=False),
    ):
        pass
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_damaged_job_file_counts_as_another_model(tmp_path: Path):
    with open_parts(str(tmp_path), IDENTITY, resume=False):
        pass
    (tmp_path / JOB).write_text("{")
    with (
        pytest.raises(OutputError, match=r"different settings \(model, backbone, columns\)"),
        open_parts(str(tmp_path), IDENTITY, resume=True),
    ):
        pass


def test_parts_of_version_02_are_done(tmp_path: Path):
    """Their metadata list one stamp per row, and the job file has the version of the journal."""
    with open_parts(str(tmp_path), IDENTITY, resume=True):
        written = write(tmp_path, 0, "a", "bad", "c")
        meta = json.loads(pq.read_metadata(tmp_path / written.name).metadata[b"hematovision"])
    assert meta == {"stamps": ["1 1"] * 3, "unread": 0}
    (tmp_path / JOB).write_text(json.dumps({"hematovision_journal": 1, **IDENTITY}))
    with open_parts(str(tmp_path), IDENTITY, resume=True) as parts:
        assert parts.done(files("a", "bad", "c")) == [written]
