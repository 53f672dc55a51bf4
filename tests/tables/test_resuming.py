"""A run that was stopped is continued: every image once, and rows as if it was undisturbed."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.resume import Difference, command, compare, finish, killed_after
from colour_squares import COLOUR_MODEL, write_square
from hematovision.errors import DatasetError, OutputError
from hematovision.model.bundle import read_bundle, write_bundle
from hematovision.tables import journal, resuming
from hematovision.tables.journal import journal_path, open_journal
from hematovision.tables.sinks import SUFFIXES
from hematovision.workflows.classify import classify

AWKWARD = ("two\nlines.png", '"quoted", comma.png', "Zellen ä 細胞.png", os.fsdecode(b"c-\xff.png"))


class StoppedError(Exception):
    """What stops a run in these tests."""


def stop_at(number: int):
    def progress(done, total, what):
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


def answered_files(folder: Path, out: Path, monkeypatch, **options) -> list[str]:
    """Continue, and return the names of the images that were read."""
    read, stamp = [], resuming.Answered.todo

    def todo(self):
        for path in stamp(self):
            read.append(path.name)
            yield path

    monkeypatch.setattr(resuming.Answered, "todo", todo)
    run(folder, out, resume=True, **options)
    monkeypatch.undo()
    return read


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_process_killed_at_random_moments_is_continued(tmp_path: Path, suffix):
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
    assert killed, "nothing was killed: draw more images"
    finish(given)
    assert compare(out, whole) == Difference(0, 0, 0)
    assert "Nothing to do: all images were classified before" in finish(given)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("number", [1, 5, 9])
def test_what_is_continued_is_the_undisturbed_table(
    squares: Path, tmp_path: Path, suffix, number, monkeypatch
):
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"t{suffix}"
    expected = run(squares, whole)
    with pytest.raises(StoppedError):
        run(squares, out, progress=stop_at(number))
    assert not out.exists()
    told = []
    found = run(squares, out, resume=True, progress=lambda *step: told.append(step))
    assert out.read_bytes() == whole.read_bytes()
    assert (found.n, found.counts, found.review) == (9, expected.counts, expected.review)
    assert [error.path for error in found.refused] == [str(squares / "3b.png")]
    # The broken file is the fifth in order, and is tried again.
    left = 9 - number + (number >= 5)
    assert told == [(done, left, "Classifying") for done in range(1, left + 1)]
    assert found.before == number


@pytest.mark.parametrize("length", [0, 7, -1, -40])
def test_a_torn_last_line_is_cut_off_and_answered_again(squares: Path, tmp_path: Path, length):
    whole, out = tmp_path / "whole.csv", tmp_path / "t.csv"
    run(squares, whole)
    with pytest.raises(StoppedError):
        run(squares, out, progress=stop_at(4))
    written = journal_path(out).read_bytes()
    journal_path(out).write_bytes(written[: length or None] if length <= 0 else written[:length])
    before = {0: 4, 7: 0, -1: 3, -40: 3}[length]
    assert run(squares, out, resume=True).before == before
    assert out.read_bytes() == whole.read_bytes()


def test_a_finished_table_is_left_alone_and_what_is_new_is_added(
    squares: Path, tmp_path: Path, monkeypatch
):
    whole, out = tmp_path / "whole.csv", tmp_path / "t.csv"
    run(squares, out, resume=True)
    times = out.stat().st_mtime_ns, out.stat().st_ino
    assert answered_files(squares, out, monkeypatch) == ["3b.png"], "only refused ones again"
    assert (out.stat().st_mtime_ns, out.stat().st_ino) == times
    write_square(squares / "0a.png", (10, 10, 250))
    assert answered_files(squares, out, monkeypatch) == ["0a.png", "3b.png"]
    run(squares, whole)
    assert out.read_bytes() == whole.read_bytes(), "the new one stands in its order"
    out.unlink()
    assert run(squares, out, resume=True).before == 10, "the journal alone is enough"
    assert out.read_bytes() == whole.read_bytes()


def test_changed_mended_and_removed_images_lead_to_the_table_of_now(
    squares: Path, tmp_path: Path, monkeypatch
):
    whole, out = tmp_path / "whole.jsonl", tmp_path / "t.jsonl"
    run(squares, out, resume=True)
    write_square(squares / "2.png", (10, 10, 250), side=50)
    write_square(squares / "3b.png", (10, 10, 250))
    (squares / "7.png").unlink()
    assert answered_files(squares, out, monkeypatch) == ["2.png", "3b.png"]
    found = run(squares, whole)
    assert (found.n, found.counts["blue"], found.refused) == (8, 2, ())
    assert out.read_bytes() == whole.read_bytes()


def test_an_image_that_comes_back_to_an_earlier_list_is_found_in_any_order(
    squares: Path, tmp_path: Path
):
    out, files = tmp_path / "t.csv", sorted(squares.glob("?.png"))
    classify(files, model=COLOUR_MODEL, out=out, resume=True)
    found = classify(files[::-1], model=COLOUR_MODEL, out=out, resume=True)
    assert found.before == 8
    paths = [line.split(",")[0] for line in out.read_text().splitlines()[1:]]
    assert paths == [str(path) for path in files[::-1]]


def test_paths_of_one_hash_are_told_apart(squares: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(resuming, "hash", lambda text: 7, raising=False)
    test_an_image_that_comes_back_to_an_earlier_list_is_found_in_any_order(squares, tmp_path)


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


def test_a_missing_image_is_refused_once_and_answered_when_it_is_there(tmp_path: Path):
    out, path = tmp_path / "t.csv", tmp_path / "late.png"
    for before in (0, 1):
        found = classify([path], model=COLOUR_MODEL, out=out, resume=True)
        assert (len(found.refused), found.before) == (1, before)
    write_square(path, (250, 10, 10))
    found = classify([path], model=COLOUR_MODEL, out=out, resume=True)
    assert (found.counts["red"], found.refused) == (1, ())
    assert len(out.read_text().splitlines()) == 2


def test_without_resume_a_run_begins_anew_and_leaves_only_its_table(squares: Path, tmp_path: Path):
    out = tmp_path / "t.csv"
    with pytest.raises(StoppedError):
        run(squares, out, progress=stop_at(4))
    assert run(squares, out).before == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["squares", "t.csv"]


def test_a_table_of_unknown_origin_is_not_added_to(squares: Path, tmp_path: Path):
    out = tmp_path / "t.csv"
    run(squares, out)
    with pytest.raises(OutputError, match=r"not made with --resume.*Run without --resume"):
        run(squares, out, resume=True)
    assert not journal_path(out).exists()


def test_what_cannot_be_resumed_is_refused(squares: Path, tmp_path: Path):
    with pytest.raises(OutputError, match="--out"):
        classify([squares], model=COLOUR_MODEL, resume=True)
    with pytest.raises(OutputError, match=r"Overlays cannot be resumed.*without --explain"):
        run(squares, tmp_path / "t.csv", resume=True, explain=tmp_path / "o")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OutputError, match="a folder has that name"):
        run(squares, tmp_path / "folder.csv", resume=True)


def test_another_model_is_refused_and_says_what_to_do(squares: Path, tmp_path: Path):
    out = tmp_path / "t.csv"
    with pytest.raises(StoppedError):
        run(squares, out, progress=stop_at(4))
    path = journal_path(out)
    head, rest = path.read_text().split("\n", 1)
    kept = json.loads(head)
    for change, said in (
        ({"model": "0" * 64}, "another model"),
        ({"backbone": "x", "columns": ["path"]}, "another backbone and other columns"),
        ({"max_novelty": 9.0}, "another threshold of novelty"),
    ):
        path.write_text(json.dumps(kept | change) + "\n" + rest)
        with pytest.raises(OutputError, match=rf"begun with {said}: .*Give the same --model"):
            run(squares, out, resume=True)
    path.write_text(head + "\n" + rest)
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
    with pytest.raises(OutputError, match="another threshold of confidence"):
        run(squares, tmp_path / "t.csv", resume=True, model=other)


GOOD_HEAD = journal.Head("m", "b", ("path",), 0.5, 1.0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"rubbish", "does not consist of lines"),
        (b"\0" * 100, "does not consist of lines"),
        (b"path,label\na.png,red\n", "first line is not the head"),
        (b"[1, 2]\n", "first line is not the head"),
        (b'{"hematovision_journal": 12\n', "first line is not the head"),
        (b"[" * 100_000 + b"\n", "first line is not the head"),
        (b"x" * 2**21 + b"\n", "first line is not the head"),
        (b"x\n" + b"x" * 2**21, "does not consist of lines"),
    ],
    ids=range(8),
)
def test_rubbish_in_the_place_of_the_journal_is_not_touched(
    squares: Path, tmp_path: Path, content, said
):
    path = journal_path(tmp_path / "t.csv")
    path.write_bytes(content)
    with pytest.raises(OutputError, match=rf"{said}.*Delete or move it") as caught:
        run(squares, tmp_path / "t.csv", resume=True)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b"[" * 100_000,
        b"7",
        b'{"finished": 1}',
        b"[1, 2, 3]",
        b'["a", null, "red", [1, 0, 0], 1.0, 0.5, "accepted", "", null]',
        b'["a", null, "mauve", [1.0, 0.0, 0.0], 1.0, 0.5, "accepted", "", null]',
        b'["a", null, "red", 7, 1.0, 0.5, "accepted", "", null]',
        b'["a", null, null, [], null, null, "unsure", "", null]',
    ],
    ids=range(9),
)
def test_rubbish_inside_the_journal_is_an_error(squares: Path, tmp_path: Path, line):
    out = tmp_path / "t.csv"
    with pytest.raises(StoppedError):
        run(squares, out, progress=stop_at(4))
    with journal_path(out).open("ab") as stream:
        stream.write(line + b"\n")
    with pytest.raises(OutputError, match=r"cannot be continued: .*Delete or move it"):
        run(squares, out, resume=True)


def test_two_runs_of_one_table_do_not_mix(squares: Path, tmp_path: Path):
    out = tmp_path / "t.csv"
    with open_journal(out, GOOD_HEAD, resume=False):
        for resume in (True, False):
            with pytest.raises(OutputError, match="Another process is making the table"):
                run(squares, out, resume=resume)
    with pytest.raises(OutputError, match="another model"):
        run(squares, out, resume=True)


def test_a_journal_that_is_deleted_while_it_is_opened_is_not_used(tmp_path: Path, monkeypatch):
    def hold_late(stream):
        journal_path(tmp_path / "t.csv").unlink()
        return True

    monkeypatch.setattr("hematovision.files.try_hold", hold_late)
    with (
        pytest.raises(OutputError, match="Another process"),
        open_journal(tmp_path / "t.csv", GOOD_HEAD, resume=True),
    ):
        pass


def test_a_journal_where_files_cannot_be_locked_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch
):
    def refuse(stream):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("hematovision.files.try_hold", refuse)
    with (
        pytest.raises(OutputError, match=r"Cannot write .*t\.csv\.journal: No locks available"),
        open_journal(tmp_path / "t.csv", GOOD_HEAD, resume=True),
    ):
        pass


def test_where_open_files_cannot_be_deleted_the_journal_goes_once_it_is_closed(
    squares: Path, tmp_path: Path, monkeypatch
):
    refused, unlink = [], Path.unlink

    def busy(path, **options):
        if path.suffix == ".journal" and not refused:
            refused.append(path)
            raise PermissionError(13, "in use")
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", busy)
    run(squares, tmp_path / "t.csv")
    assert refused == [journal_path(tmp_path / "t.csv")]
    assert not refused[0].exists()


def test_lines_reach_the_disk_every_few_seconds(squares: Path, tmp_path: Path, monkeypatch):
    synced = []
    monkeypatch.setattr(journal, "SYNC_SECONDS", 0.0)
    monkeypatch.setattr(journal.os, "fsync", synced.append)
    run(squares, tmp_path / "t.csv")
    assert len(synced) == 11, "the head, nine answers, and that all is finished"


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.argv[:2] = ["hematovision"]
from hematovision.cli import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
@pytest.mark.parametrize("limit", [10, 1000])
def test_a_full_disk_is_said_and_the_run_can_be_continued(squares: Path, tmp_path: Path, limit):
    out = tmp_path / "t.csv"
    words = command(squares, COLOUR_MODEL, out)[3:]
    full = subprocess.run(
        [sys.executable, "-c", FULL, str(limit), *words], capture_output=True, text=True
    )
    assert full.returncode == 1, full.stderr
    assert f"Error: Cannot write {journal_path(out)}: File too large. The file" in full.stderr
    assert "Traceback" not in full.stderr
    assert journal_path(out).stat().st_size == limit
    finish([*command(squares, COLOUR_MODEL, out)])
    run(squares, tmp_path / "whole.csv")
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_no_journal_is_begun_for_a_folder_without_images(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError):
        run(tmp_path / "empty", tmp_path / "t.csv", resume=True)
    assert not journal_path(tmp_path / "t.csv").exists()


def test_long_work_at_the_end_is_told(squares: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("hematovision.workflows.classify._TOLD_ROWS", 4)
    told = []
    run(squares, tmp_path / "t.csv", progress=lambda *step: told.append(step))
    assert told[9:] == [(4, 9, "Writing the table"), (8, 9, "Writing the table")]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other links")
@pytest.mark.parametrize("resume", [False, True])
def test_a_journal_that_is_a_link_overwrites_nothing(squares: Path, tmp_path: Path, resume: bool):
    out, precious = tmp_path / "t.csv", tmp_path / "precious.txt"
    precious.write_text("precious")
    journal_path(out).symlink_to(precious)
    with pytest.raises(OutputError, match=r"t\.csv\.journal is a link.*Delete it"):
        classify([squares], model=COLOUR_MODEL, out=out, resume=resume)
    assert precious.read_text() == "precious"
    assert not out.exists()
