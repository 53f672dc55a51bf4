"""What is drawn in a terminal: progress bars with the time left, and tables."""

from __future__ import annotations

import math
import shlex
import shutil
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hematovision.cli.failures import FINDINGS
from hematovision.cli.terminal import echo
from hematovision.errors import ImageError
from hematovision.paths import shown
from hematovision.progress import Progress, no_progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["exit_if_refused", "progress_bar", "show_list", "show_next", "show_table"]

QUIET_SECONDS = 10.0
"""How long work without a terminal is silent before it says a line, and between two lines."""

PACE_SECONDS = 30
"""Over how long a pace is taken: short enough to follow a change, long enough not to jump."""

_UNITS = {
    **dict.fromkeys(
        ("classifying", "comparing", "computing features", "copying images", "decoys"), "images"
    ),
    **dict.fromkeys(("drawing phantoms", "features", "reading images"), "images"),
    **dict.fromkeys(("fine-tuning", "head"), "batches"),
}
"""What is counted, where that is certain."""

_TITLES = {"head": "training the head"}

_FIGURES = {
    "loss": "loss",
    "accuracy": "accuracy",
    "val_loss": "validation loss",
    "val_accuracy": "validation accuracy",
}


@contextmanager
def progress_bar(*, hidden: bool = False) -> Iterator[Progress]:
    """Give a `Progress` that draws bars on stderr, or says a line now and then without a terminal.

    Nothing of it ever goes to stdout, so that a result can be piped.

    Parameters
    ----------
    hidden : bool
        Draw nothing, where the answers themselves appear on the screen one by one.
    """
    if hidden:
        yield no_progress
        return
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress
    from rich.table import Column

    # In a narrow terminal the bar gives way, then the end of the sentence; nothing wraps.
    sentence = Column(no_wrap=True, overflow="ellipsis")
    columns = (
        TextColumn("{task.description}", markup=False, table_column=sentence),
        BarColumn(bar_width=None, table_column=Column(max_width=40)),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as bars:
        yield _Bars(bars)


class _Bars:
    """One bar for each piece of work; a new piece starts a bar under the last one."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._tasks: dict[str, tuple[TaskID, _Pace]] = {}

    def __call__(self, done: int, total: int, what: str, /) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total or None), _Pace(what)
        task, pace = self._tasks[what]
        said = shown(pace.sentence(done, total))
        self._bars.update(task, completed=done, total=total or None, description=said)

    def epoch(self, figures: Mapping[str, float], what: str, /) -> None:
        """Show how an epoch went above the bars."""
        self.note(_epoch_sentence(figures, what))

    def note(self, sentence: str, /) -> None:
        """Show a sentence above the bars."""
        self._bars.console.print(shown(sentence), markup=False, highlight=False, soft_wrap=True)


class _Lines:
    """A line on stderr every ten seconds, for logs; short work says nothing."""

    def __init__(self) -> None:
        self._said = time.monotonic()
        self._paces: dict[str, _Pace] = {}

    def __call__(self, done: int, total: int, what: str, /) -> None:
        pace = self._paces.setdefault(what, _Pace(what))
        said = pace.sentence(done, total)
        if time.monotonic() - self._said >= QUIET_SECONDS:
            self._said = time.monotonic()
            echo(said, err=True)

    def epoch(self, figures: Mapping[str, float], what: str, /) -> None:
        """Say at once how an epoch went."""
        echo(_epoch_sentence(figures, what), err=True)

    def note(self, sentence: str, /) -> None:
        """Say a sentence at once."""
        echo(sentence, err=True)


class _Pace:
    """How fast a piece of work is, over the last half minute, and when it will be done."""

    def __init__(self, what: str) -> None:
        self._what = _title(what)
        unit = _UNITS.get(what.lower(), "")
        self._unit = f" {unit}/s" if unit else "/s"
        self._marks = deque[tuple[float, int]](maxlen=PACE_SECONDS)
        self._first = (0.0, 0)

    def sentence(self, done: int, total: int) -> str:
        """Say it: ``Classifying 1,234 of 20,000, 210 images/s, 1:30 left``."""
        now = time.monotonic()
        if not self._marks:
            self._first = (now, done)
        if not self._marks or now - self._marks[-1][0] >= 1:
            self._marks.append((now, done))
        parts = [f"{self._what} {done:,}" + (f" of {total:,}" if total else "")]
        ended = bool(total) and done >= total
        began, before = self._first if ended else self._marks[0]
        if now - began >= 1 and done > before:
            rate = (done - before) / (now - began)
            parts.append(f"{rate:,.0f}{self._unit}" if rate >= 10 else f"{rate:.1f}{self._unit}")
            if ended:
                parts.append(f"took {_clock(now - began)}")
            elif total:
                parts.append(f"{_clock((total - done) / rate)} left")
        return ", ".join(parts)


def _title(what: str) -> str:
    words = _TITLES.get(what, what)
    return words[:1].upper() + words[1:]


def _epoch_sentence(figures: Mapping[str, float], what: str) -> str:
    """Say it: ``Training the head: epoch 3/15, loss 0.2134, accuracy 93.1%, ...``."""
    number, total = (int(figures[key]) for key in ("epoch", "epochs"))
    parts = [f"epoch {number}/{total}"]
    for key, name in _FIGURES.items():
        if key in figures:
            value = figures[key]
            parts.append(f"{name} {value:.1%}" if "accuracy" in key else f"{name} {value:.4f}")
    return f"{_title(what)}: {', '.join(parts)}"


def _clock(seconds: float) -> str:
    """Write a time as ``1:30`` or ``2:05:00``."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Draw a table on stdout; every column but the first is aligned to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=shown(title) or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for position, column in enumerate(map(shown, columns)):
        table.add_column(column, justify="right" if position else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(shown, row))
    # A log has no width: a table there is as wide as its content.
    width = None if sys.stdout.isatty() else 200
    drawing = Console(markup=False, highlight=False, width=width)
    with drawing.capture() as drawn:
        drawing.print(table)
    typer.echo(drawn.get(), nl=False)


def show_list(heading: str, lines: Iterable[str], most: int = 20) -> None:
    """Say `heading` and `lines` on stderr; of many, the first `most` and how many are left."""
    listed = list(lines)
    echo(heading, err=True)
    for line in listed[:most]:
        echo(f"  {line}", err=True)
    if len(listed) > most:
        echo(f"  ... and {len(listed) - most} more", err=True)


def show_next(*arguments: object) -> None:
    """Say the command to try next, so that it can be copied as it stands."""
    words = [_program(), *map(str, arguments)]
    echo(f"Next: {' '.join(map(_quoted, words))}")


def _quoted(word: str) -> str:
    """Quote a word for a shell; one that a terminal cannot show is written as ``$'...'``."""
    if shown(word) == word:
        return shlex.quote(word)
    escaped = shown(word.replace("\\", r"\\").replace("'", r"\'"))
    return f"$'{escaped}'"


def _program() -> str:
    """Return how to call the program from here: by its name, or in its environment's folder."""
    if shutil.which("hematovision"):
        return "hematovision"
    program = Path(sys.executable).with_name("hematovision")
    try:
        return str(program.relative_to(Path.cwd()))
    except ValueError:
        return str(program)


def exit_if_refused(refused: Sequence[ImageError]) -> None:
    """List the images that could not be used, and end with the exit code that says so.

    Raises
    ------
    typer.Exit
        If there are any.
    """
    if refused:
        lines = (f"{error.path}: {error.reason}" for error in refused)
        show_list(f"Images that could not be used ({len(refused)}):", lines, most=len(refused))
        raise typer.Exit(FINDINGS)
