"""An interrupted run is resumed: its table equals that of an uninterrupted run."""

import json
import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from benchmarks.resume import Difference, command, compare, finish, killed_after
from colour_squares import COLOUR_MODEL, write_square
from dots import SCHEMA, Dot, DotCounter, dots
from hematovision import images
from hematovision.errors import DatasetError, OutputError
from hematovision.model.bundle import read_bundle, write_bundle
from hematovision.model.classifier import Classifier
from hematovision.tables import store
from hematovision.tables.sinks import SUFFIXES
from hematovision.tables.store import RunImages, RunItem, open_store, store_path
from hematovision.workflows.classify import classify

AWKWARD = ("two\nlines.png", '"quoted", comma.png', "Zellen ä 細胞.png", os.fsdecode(b"c-\xff.png"))
PATHS = [
    Path("a/1.png"),
    Path("a/b/ä 細胞.png"),
    Path("2.png"),
    Path("a/1.png"),
    Path(os.sep) / "root.png",
    Path(),
    Path("a/\udcff.png"),
    Path("a/\ud800.png"),
    Path("../up.png"),
]


class StoppedError(Exception):
    """Stops a run in these tests."""


def stop_at(number: int):
    def progress(done, total, what, unit):
        if what == "Classifying" and done == number:
            raise StoppedError

    return progress


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """Eight squares that differ, and a broken file among them."""
    folder = tmp_path / "squares"
    folder.mkdir()
    for i in range(8):
        write_square(folder / f"{i}.png", (250 - 20 * i, 10 + 20 * i, 90))
    (folder / "3b.png").write_bytes(b"not an image")
    return folder


def run(folder: Path, out: Path, **options):
    return classify([folder], model=options.pop("model", COLOUR_MODEL), out=out, **options)


def files_read(folder: Path, out: Path, monkeypatch, **options) -> list[str]:
    """Resume, and return the names of the images that were read."""
    read, read_one = [], Classifier.read

    def noted(self, source, name):
        read.append(source.name)
        return read_one(self, source, name)

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "read", noted)
        run(folder, out, resume=True, **options)
    return sorted(read)


def change(out: Path, statement: str, *values: object) -> None:
    """Change the store of a table."""
    with closing(sqlite3.connect(store_path(out))) as db, db:
        db.execute(statement, values)


class TestRunImages:
    def test_paths_come_back_as_given_and_each_once(self):
        with closing(RunImages(PATHS + PATHS)) as found:
            assert list(found) == [RunItem(path) for path in dict.fromkeys(PATHS)]
            assert len(found) == 8

    def test_regions_of_an_image_are_items_of_their_own(self):
        items = [
            RunItem(path, region)
            for path in dict.fromkeys(PATHS)
            for region in ("", "0,0,512,512", "512,0,512,512")
        ]
        with closing(RunImages([*items, *items])) as found:
            assert list(found) == items

    def test_an_empty_list(self):
        with closing(RunImages([])) as found:
            assert list(found) == []
            assert len(found) == 0

    def test_lists_have_their_own_digests(self):
        lists = [PATHS[:2], PATHS[1::-1], PATHS[:3], []]
        digests = set()
        for paths in lists:
            with closing(RunImages(paths)) as found:
                digests.add(found.digest())
        assert len(digests) == 4

    def test_two_hundred_thousand_images_take_less_than_6_mb(self):
        script = (
            "import resource, sys; from pathlib import Path\n"
            "from hematovision.tables.store import RunImages\n"
            "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "for _ in RunImages(Path('a.png') for _ in range(9)): pass\n"
            "before = used()\n"
            "names = (f'a/long/name/of/a/folder/{i:08d}.jpg' for i in range(200_000))\n"
            "found = RunImages(map(Path, names))\n"
            "assert sum(1 for _ in found) == 200_000\n"
            "print((used() - before) / 1024)"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert float(done.stdout) < 6, done.stderr

    def test_a_full_folder_for_temporary_files_is_reported(self, monkeypatch):
        class Full:
            def execute(self, *_):
                raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(store.sqlite3, "connect", lambda path: Full())
        with pytest.raises(
            OutputError, match=r"disk is full\. Free some space there, or set TMPDIR"
        ):
            RunImages(PATHS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.parametrize("how", ["resume", "over"])
def test_a_process_may_be_killed_before_any_step(tmp_path: Path, how):
    for i in range(3):
        images.write(tmp_path / "images" / f"{i}.png", dots(*range(i)))
    (tmp_path / "images" / "broken.png").write_bytes(b"not an image")
    script = Path(__file__).with_name("killed_run.py")
    paths = [str(Path(__file__).parents[1]), *sys.path]
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), ".csv", how],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout or done.stderr)
    assert found["wrong"] == []
    assert found["steps"] > 30


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_process_may_be_killed_at_random_moments(tmp_path: Path, suffix):
    folder, whole, out = tmp_path / "p", tmp_path / f"whole{suffix}", tmp_path / f"t{suffix}"
    folder.mkdir()
    for i in range(150):
        write_square(folder / f"{i:03d}.png", (250 - i, i, 90), side=300)
    (folder / "077b.png").write_bytes(b"not an image")
    run(folder, whole)
    moments, killed = random.Random(suffix), 0
    given = command(folder, COLOUR_MODEL, out)
    for _ in range(2):
        killed += killed_after(given, moments.uniform(0.4, 1.0))
    assert killed, "nothing was killed: use more images"
    finish(given)
    assert compare(out, whole) == Difference(0, 0, 0)
    assert "Nothing to do: all images were classified before" in finish(given)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("number", [1, 5, 9])
def test_a_resumed_table_is_that_of_an_uninterrupted_run(
    squares: Path, tmp_path: Path, suffix, number
):
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"t{suffix}"
    expected = run(squares, whole)
    with pytest.raises(StoppedError):
        run(squares, out, progress=stop_at(number))
    assert not out.exists()
    steps = []
    found = run(squares, out, resume=True, progress=lambda *step: steps.append(step))
    assert out.read_bytes() == whole.read_bytes()
    assert (found.n, found.counts, found.review) == (9, expected.counts, expected.review)
    assert [error.path for error in found.refused] == [str(squares / "3b.png")]
    # The broken file is the fifth in order, and is tried again.
    left = 9 - number + (number >= 5)
    assert steps == [(done, left, "Classifying", "images") for done in range(1, left + 1)]
    assert found.before == number


def test_a_finished_table_is_left_alone_and_what_is_new_is_added(
    squares: Path, tmp_path: Path, monkeypatch
):
    whole, out = tmp_path / "whole.csv", tmp_path / "t.csv"
    run(squares, out, resume=True)
    times = out.stat().st_mtime_ns, out.stat().st_ino
    assert files_read(squares, out, monkeypatch) == ["3b.png"], "only broken ones are read again"
    assert (out.stat().st_mtime_ns, out.stat().st_ino) == times
    write_square(squares / "0a.png", (10, 10, 250))
    assert files_read(squares, out, monkeypatch) == ["0a.png", "3b.png"]
    run(squares, whole)
    assert out.read_bytes() == whole.read_bytes(), "the new one is in its place"
    out.unlink()
    assert run(squares, out, resume=True).before == 10, "the store alone is enough"
    assert out.read_bytes() == whole.read_bytes()


def test_images_that_changed_or_were_repaired_or_removed_are_noticed(
    squares: Path, tmp_path: Path, monkeypatch
):
    whole, out = tmp_path / "whole.jsonl", tmp_path / "t.jsonl"
    run(squares, out, resume=True)
    write_square(squares / "2.png", (10, 10, 250), side=50)
    write_square(squares / "3b.png", (10, 10, 250))
    (squares / "7.png").unlink()
    assert files_read(squares, out, monkeypatch) == ["2.png", "3b.png"]
    found = run(squares, whole)
    assert (found.n, found.counts["blue"], found.refused) == (8, 2, ())
    assert out.read_bytes() == whole.read_bytes()


def test_images_are_found_in_any_order(squares: Path, tmp_path: Path):
    out, files = tmp_path / "t.csv", sorted(squares.glob("?.png"))
    classify(files, model=COLOUR_MODEL, out=out, resume=True)
    found = classify(files[::-1], model=COLOUR_MODEL, out=out, resume=True)
    assert found.before == 8
    paths = [line.split(",")[0] for line in out.read_text().splitlines()[1:]]
    assert paths == [str(path) for path in files[::-1]]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="no such names there")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_awkward_names_are_found_again(tmp_path: Path, suffix):
    folder, out = tmp_path / "p", tmp_path / f"t{suffix}"
    folder.mkdir()
    for name in AWKWARD:
        write_square(tmp_path / "one.png", (250, 10, 10)).rename(folder / name)
    with pytest.raises(StoppedError):
        run(folder, out, progress=stop_at(4))
    assert run(folder, out, resume=True).before == 4
    run(folder, tmp_path / f"whole{suffix}")
    assert compare(out, tmp_path / f"whole{suffix}") == Difference(0, 0, 0)


def test_a_missing_image_is_listed_until_it_is_there(tmp_path: Path):
    out, path = tmp_path / "t.csv", tmp_path / "late.png"
    for before in (0, 1):
        found = classify([path], model=COLOUR_MODEL, out=out, resume=True)
        assert (len(found.refused), found.before) == (1, before)
    write_square(path, (250, 10, 10))
    found = classify([path], model=COLOUR_MODEL, out=out, resume=True)
    assert (found.counts["red"], found.refused) == (1, ())
    assert len(out.read_text().splitlines()) == 2


def test_without_resume_a_run_starts_over_and_leaves_only_its_table(squares: Path, tmp_path: Path):
    out = tmp_path / "t.csv"
    with pytest.raises(StoppedError):
        run(squares, out, progress=stop_at(4))
    assert run(squares, out).before == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["squares", "t.csv"]


def test_a_table_of_unknown_origin_is_not_added_to(squares: Path, tmp_path: Path):
    out = tmp_path / "t.csv"
    run(squares, out)
    with pytest.raises(OutputError, match=r"not written with --resume.*Run without --resume"):
        run(squares, out, resume=True)
    assert not store_path(out).exists()


def test_runs_that_cannot_be_resumed_are_refused(squares: Path, tmp_path: Path):
    with pytest.raises(OutputError, match="--out"):
        classify([squares], model=COLOUR_MODEL, resume=True)
    with pytest.raises(OutputError, match=r"Overlays cannot be resumed.*without --explain"):
        run(squares, tmp_path / "t.csv", resume=True, explain=tmp_path / "o")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OutputError, match="a folder has that name"):
        run(squares, tmp_path / "folder.csv", resume=True)


def test_another_model_is_an_error_with_a_solution(squares: Path, tmp_path: Path):
    out = tmp_path / "t.csv"
    with pytest.raises(StoppedError):
        run(squares, out, progress=stop_at(4))
    with closing(sqlite3.connect(store_path(out))) as db:
        (kept,) = db.execute("SELECT value FROM run WHERE key = 'identity'").fetchone()
    for other, names in (
        ({"model": "0" * 64}, "model"),
        ({"backbone": "x", "columns": ["path"]}, "backbone, columns"),
        ({"max_novelty": 9.0}, "max novelty"),
    ):
        text = json.dumps(json.loads(kept) | other)
        change(out, "UPDATE run SET value = ? WHERE key = 'identity'", text)
        with pytest.raises(OutputError, match=rf"settings \({names}\), .*Use the same options"):
            run(squares, out, resume=True)
    change(out, "UPDATE run SET value = ? WHERE key = 'identity'", kept)
    assert run(squares, out, resume=True).before == 4


def test_other_thresholds_of_the_same_model_are_noticed(squares: Path, tmp_path: Path):
    from dataclasses import replace

    bundle = read_bundle(COLOUR_MODEL)
    thresholds = replace(bundle.thresholds, min_confidence=0.99)
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    other = write_bundle(
        tmp_path / "m", replace(bundle.manifest, thresholds=thresholds), files
    ).folder
    run(squares, tmp_path / "t.csv", resume=True)
    with pytest.raises(OutputError, match=r"different settings \(min confidence\)"):
        run(squares, tmp_path / "t.csv", resume=True, model=other)


@pytest.mark.parametrize(
    "content",
    [b"rubbish", b"\0" * 100, b"path,label\na.png,red\n", b"SQLite format 3\0" + b"x" * 5000],
    ids=range(4),
)
def test_a_file_that_is_not_a_store_is_not_changed(squares: Path, tmp_path: Path, content):
    path = store_path(tmp_path / "t.csv")
    path.write_bytes(content)
    with pytest.raises(OutputError, match=r"cannot be resumed: .*delete or move it") as caught:
        run(squares, tmp_path / "t.csv", resume=True)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == content
    assert run(squares, tmp_path / "t.csv").before == 0, "without --resume it is replaced"


def test_a_database_of_another_program_is_not_touched(squares: Path, tmp_path: Path):
    change(tmp_path / "t.csv", "CREATE TABLE precious (value TEXT)")
    content = store_path(tmp_path / "t.csv").read_bytes()
    with pytest.raises(OutputError, match="another program or version wrote it"):
        run(squares, tmp_path / "t.csv", resume=True)
    assert store_path(tmp_path / "t.csv").read_bytes() == content


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE results SET rows = replace(rows, 'r', 'a') WHERE CAST(path AS TEXT) LIKE '%2.png'",
        "UPDATE results SET rows = CAST('[' AS BLOB) WHERE CAST(path AS TEXT) LIKE '%2.png'",
        "UPDATE results SET stamp = x'ff' WHERE CAST(path AS TEXT) LIKE '%2.png'",
        "UPDATE results SET checksum = 'x' WHERE CAST(path AS TEXT) LIKE '%2.png'",
        "DELETE FROM results WHERE CAST(path AS TEXT) LIKE '%2.png'",
    ],
    ids=range(5),
)
def test_an_image_whose_rows_are_damaged_is_processed_again(
    squares: Path, tmp_path: Path, damage, monkeypatch
):
    whole, out = tmp_path / "whole.csv", tmp_path / "t.csv"
    run(squares, whole)
    run(squares, out, resume=True)
    change(out, damage)
    assert files_read(squares, out, monkeypatch) == ["2.png", "3b.png"]
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    "rows", [b"null", b"{", b"[[1, 2]]", b"[7]", b"[[" + b"1, " * 11 + b"2]]", b"[" * 100_000]
)
def test_an_image_whose_rows_have_another_form_is_processed_again(
    squares: Path, tmp_path: Path, rows, monkeypatch
):
    whole, out = tmp_path / "whole.csv", tmp_path / "t.csv"
    run(squares, whole)
    run(squares, out, resume=True)
    with closing(sqlite3.connect(store_path(out))) as db:
        query = "SELECT path, stamp FROM results WHERE CAST(path AS TEXT) LIKE '%2.png'"
        key, stamp = db.execute(query).fetchone()
        store._put(db, key, stamp, rows)
        db.commit()
    assert files_read(squares, out, monkeypatch) == ["2.png", "3b.png"]
    assert out.read_bytes() == whole.read_bytes()


def test_a_store_damaged_anywhere_is_an_error_or_does_no_harm(squares: Path, tmp_path: Path):
    whole, out = tmp_path / "whole.csv", tmp_path / "t.csv"
    run(squares, whole)
    run(squares, out, resume=True)
    path = store_path(out)
    content, places, errors = path.read_bytes(), random.Random(0), 0
    for _ in range(60):
        damaged, start = bytearray(content), places.randrange(len(content))
        damaged[start : start + 64] = places.randbytes(len(damaged[start : start + 64]))
        path.write_bytes(damaged)
        out.unlink(missing_ok=True)
        try:
            run(squares, out, resume=True)
        except OutputError:
            errors += 1
            assert not out.exists()
        else:
            assert out.read_bytes() == whole.read_bytes()
    assert 0 < errors < 60


def test_rows_that_are_damaged_during_a_run_are_an_error(
    squares: Path, tmp_path: Path, monkeypatch
):
    out = tmp_path / "t.csv"

    def damage(done, total, what, unit):
        if done == 9:
            change(out, "UPDATE results SET checksum = 0")

    monkeypatch.setattr(store, "COMMIT_SECONDS", 0.0)
    with pytest.raises(OutputError, match=r"the rows of .*0\.png are missing"):
        run(squares, out, resume=True, progress=damage)
    assert not out.exists()


def test_two_processes_do_not_write_one_table(squares: Path, tmp_path: Path):
    out = tmp_path / "t.csv"
    with open_dots(out):
        for resume in (True, False):
            with pytest.raises(OutputError, match="Another process is writing the table"):
                run(squares, out, resume=resume)
    assert run(squares, out).before == 0


@contextmanager
def open_dots(out: Path, *paths: Path | RunItem, resume: bool = False):
    """Open a store for the rows of a `DotCounter`."""
    with (
        closing(RunImages(paths)) as found,
        open_store(out, DotCounter.identity, SCHEMA, found, resume=resume) as opened,
    ):
        yield opened


def test_images_without_rows_or_with_many_are_done(tmp_path: Path):
    out = tmp_path / "t.csv"
    paths = [images.write(tmp_path / f"{i}.png", dots(*range(i))) for i in range(4)]
    counter = DotCounter()

    def rows(path):
        return [row.values() for row in counter.predict_rows(counter.read(path, ""), str(path))[0]]

    with open_dots(out, *paths, resume=True) as opened:
        for item in opened.todo():
            opened.add(rows(item.path))
        expected = list(opened.rows())
    assert [row["image"] for row in expected] == [str(paths[i]) for i in (1, 2, 2, 3, 3, 3)]
    assert expected[3:] == rows(paths[3]), "numbers and flags as they were"
    with open_dots(out, *paths, resume=True) as opened:
        assert (opened.left, opened.before) == (0, 4)
        assert list(opened.rows()) == expected


def test_the_regions_of_a_changed_image_are_processed_again(tmp_path: Path):
    out, path, other = tmp_path / "t.csv", tmp_path / "slide.png", tmp_path / "other.png"
    for place in (path, other):
        images.write(place, dots(1))
    items = [RunItem(path, "0,0,4,4"), RunItem(path, "4,0,4,4"), RunItem(other)]
    with open_dots(out, *items, resume=True) as opened:
        for item in opened.todo():
            opened.add([Dot(str(item), x=len(item.region), share=1.0, on_edge=False).values()])
        assert [row["x"] for row in opened.rows()] == [7, 7, 0]
        assert [row["x"] for row in opened.rows_of(items[2])] == [0]
    images.write(path, dots(1, 2, 3))
    with open_dots(out, *items, resume=True) as opened:
        assert (list(opened.todo()), opened.before) == (items[:2], 1)


def test_rows_may_be_added_in_another_order(tmp_path: Path):
    paths = [images.write(tmp_path / f"{i}.png", dots(1)) for i in range(3)]
    with open_dots(tmp_path / "t.csv", *paths, resume=True) as opened:
        for item in reversed(list(opened.todo())):
            opened.add([Dot(item.path.name, x=1, share=1.0, on_edge=False).values()], item)
        assert [row["image"] for row in opened.rows()] == ["0.png", "1.png", "2.png"]


def test_a_store_may_be_kept_and_have_stamps_of_its_own(tmp_path: Path):
    out, item = tmp_path / "t.csv", RunItem(Path("s3:/bucket/1.png"))
    found = {item: "etag 1"}

    def left(*, resume: bool) -> int:
        with (
            closing(RunImages([item])) as run_images,
            open_store(
                out, {}, SCHEMA, run_images, resume=resume, keep=True, stamp=found.__getitem__
            ) as opened,
        ):
            for _ in opened.todo():
                opened.add([])
            return opened.left

    assert [left(resume=False), left(resume=True)] == [1, 0]
    found[item] = "etag 2"
    assert left(resume=True) == 1


def test_an_interrupted_table_is_not_taken_for_finished(tmp_path: Path):
    out, paths = tmp_path / "t.csv", [tmp_path / "1.png", tmp_path / "2.png"]
    for path in paths:
        images.write(path, dots(1))
    with open_dots(out, *paths, resume=True) as opened:
        for _ in opened.todo():
            opened.add([])
        with opened.finishing():
            pass
    with open_dots(out, *paths, resume=True) as opened:
        assert not opened.changed
    with pytest.raises(StoppedError), open_dots(out, paths[0], resume=True) as opened:
        assert opened.changed
        with opened.finishing():
            raise StoppedError
    with open_dots(out, *paths, resume=True) as opened:
        assert opened.changed, "the table may be that of one image"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")
def test_if_files_cannot_be_locked_the_error_names_the_lock(tmp_path: Path, monkeypatch):
    def refuse(stream, flags):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with (
        pytest.raises(OutputError, match=r"Cannot write .*resume-running: No locks available"),
        open_dots(tmp_path / "t.csv", resume=True),
    ):
        pass


def test_if_open_files_cannot_be_deleted_the_lock_is_deleted_when_closed(
    squares: Path, tmp_path: Path, monkeypatch
):
    refused, unlink = [], Path.unlink

    def busy(path, **options):
        if path.name.endswith("-running") and not refused:
            refused.append(path)
            raise PermissionError(13, "in use")
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", busy)
    run(squares, tmp_path / "t.csv")
    assert [path.name for path in refused] == ["t.csv.resume-running"]
    assert not refused[0].exists()


def test_rows_are_committed_every_two_seconds(squares: Path, tmp_path: Path, monkeypatch):
    now, commits = [0.0], []
    commit = store.Store.commit

    def noted(self):
        commits.append(now[0])
        commit(self)

    monkeypatch.setattr(store.Store, "commit", noted)
    monkeypatch.setattr(store.time, "monotonic", lambda: now[0])

    def second(done, total, what, unit):
        now[0] += 0.5

    run(squares, tmp_path / "t.csv", progress=second)
    assert store.COMMIT_SECONDS == 2.0
    assert commits == [2.0, 4.0, 4.5, 4.5, 4.5], "then for the table, and at the end"


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.argv[:2] = ["hematovision"]
from hematovision.cli import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
@pytest.mark.parametrize("limit", [10, 30_000])
def test_a_file_that_cannot_grow_is_reported_and_the_run_can_be_resumed(tmp_path: Path, limit):
    folder, out = tmp_path / "many", tmp_path / "t.csv"
    for i in range(200):
        write_square(folder / f"{i:03d}.png", (250 - i, i, 90))
    words = command(folder, COLOUR_MODEL, out)[3:]
    full = subprocess.run(
        [sys.executable, "-c", FULL, str(limit), *words], capture_output=True, text=True
    )
    assert full.returncode == 1, full.stderr
    assert f"Error: Cannot write {store_path(out)}: Input/output error. Check" in full.stderr
    assert "Traceback" not in full.stderr
    finish(command(folder, COLOUR_MODEL, out))
    run(folder, tmp_path / "whole.csv")
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_folder_without_images_has_no_store(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError):
        run(tmp_path / "empty", tmp_path / "t.csv", resume=True)
    assert not store_path(tmp_path / "t.csv").exists()


def test_writing_a_long_table_is_reported(squares: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("hematovision.workflows.classify._ROWS_PER_STEP", 4)
    steps = []
    run(squares, tmp_path / "t.csv", progress=lambda *step: steps.append(step))
    assert steps[9:] == [(4, 9, "Writing the table", "rows"), (8, 9, "Writing the table", "rows")]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other links")
@pytest.mark.parametrize("resume", [False, True])
def test_a_store_that_is_a_link_overwrites_nothing(squares: Path, tmp_path: Path, resume: bool):
    out, precious = tmp_path / "t.csv", tmp_path / "precious.txt"
    precious.write_text("precious")
    store_path(out).symlink_to(precious)
    with pytest.raises(OutputError, match=r"t\.csv\.resume is a link.*Delete it"):
        classify([squares], model=COLOUR_MODEL, out=out, resume=resume)
    assert precious.read_text() == "precious"
    assert not out.exists()


JOURNAL = Path(__file__).parent / "data" / "journal_0.2.jsonl"
"""Written by version 0.2 for the squares of this test, stopped after the sixth of nine images."""


class TestJournalOf02:
    def write(self, squares: Path, out: Path, cut: int | None = None) -> Path:
        """Write the journal with the paths and states of `squares`."""
        head, *lines = JOURNAL.read_text().splitlines()
        (unreadable,) = Classifier.load(COLOUR_MODEL).predict(squares / "3b.png")
        written = [head]
        for line in lines:
            entry = json.loads(line)
            entry[-1] = entry[-1] and unreadable.error  # whose words have changed since
            path = squares / entry[0]
            status = path.stat()
            written.append(
                json.dumps([str(path), [status.st_size, status.st_mtime_ns], *entry[2:]])
            )
        text = "\n".join(written) + "\n"
        journal = out.with_name(f"{out.name}.journal")
        journal.write_text(text[:cut])
        return journal

    @pytest.mark.parametrize(("cut", "before"), [(None, 6), (-1, 6), (-40, 5), (-300, 4)])
    def test_its_results_are_kept(self, squares: Path, tmp_path: Path, cut, before, monkeypatch):
        whole, out = tmp_path / "whole.csv", tmp_path / "t.csv"
        run(squares, whole)
        journal = self.write(squares, out, cut)
        assert run(squares, out, resume=True).before == before
        assert out.read_bytes() == whole.read_bytes()
        assert not journal.exists()
        assert files_read(squares, out, monkeypatch) == ["3b.png"]

    def test_one_of_another_model_is_an_error_and_stays(self, squares: Path, tmp_path: Path):
        journal = self.write(squares, tmp_path / "t.csv")
        journal.write_text(journal.read_text().replace('"model": "', '"model": "0'))
        with pytest.raises(OutputError, match=r"t\.csv\.journal was started with .*model"):
            run(squares, tmp_path / "t.csv", resume=True)
        assert journal.exists()
        self.write(squares, tmp_path / "t.csv")
        assert run(squares, tmp_path / "t.csv", resume=True).before == 6, "the store was empty"

    def test_a_finished_table_is_left_alone(self, squares: Path, tmp_path: Path):
        out = tmp_path / "t.csv"
        for name in ("5.png", "6.png", "7.png"):
            (squares / name).unlink()
        run(squares, out)
        before = out.stat().st_mtime_ns
        journal = self.write(squares, out)
        with closing(RunImages(images.iter_images([squares]))) as found:
            line = json.dumps({"finished": found.digest()})
        journal.write_text(f"{journal.read_text()}{line}\n")
        assert run(squares, out, resume=True).before == 6
        assert out.stat().st_mtime_ns == before

    def test_it_goes_when_the_run_starts_over(self, squares: Path, tmp_path: Path):
        self.write(squares, tmp_path / "t.csv")
        assert run(squares, tmp_path / "t.csv").before == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["squares", "t.csv"]

    def test_another_file_of_that_name_is_left_alone(self, squares: Path, tmp_path: Path):
        journal = tmp_path / "t.csv.journal"
        journal.write_text("dear diary")
        for resume in (False, True):
            run(squares, tmp_path / f"t{resume}.csv", resume=resume)
        assert journal.read_text() == "dear diary"
