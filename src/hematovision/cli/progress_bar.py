"""Progress in the terminal: bars with the rate and the remaining time, or lines in a log."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hematovision.cli.log import is_quiet
from hematovision.cli.terminal import echo
from hematovision.paths import shown
from hematovision.progress import Progress, no_progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["LOG_SECONDS", "progress_bar"]

LOG_SECONDS = 10.0
"""Seconds between progress lines in a log, and before the first line."""

RATE_SECONDS = 30
"""Window over which the rate is measured, in seconds."""

_MEGA = 1_000_000

_ABBREVIATED = {"bytes": " MB"}

_TITLES = {"head": "training the head"}

_METRICS = {
    "loss": "loss",
    "accuracy": "accuracy",
    "val_loss": "validation loss",
    "val_accuracy": "validation accuracy",
}


@contextmanager
def progress_bar(*, hidden: bool = False) -> Iterator[Progress]:
    """Yield a `Progress` that shows bars on stderr, or prints lines if stderr is not a terminal.

    Nothing is written to stdout.

    With `hidden` nothing is shown, for commands that print their results one by one; nor if only
    errors are shown.
    """
    if hidden or is_quiet():
        yield no_progress
        return
    if not sys.stderr.isatty():
        yield _LogLines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress
    from rich.table import Column

    # In a narrow terminal the bar shrinks first, then the text is truncated; nothing wraps.
    text = Column(no_wrap=True, overflow="ellipsis")
    columns = (
        TextColumn("{task.description}", markup=False, table_column=text),
        BarColumn(bar_width=None, table_column=Column(max_width=40)),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as bars:
        yield _Bars(bars)


class _Bars:
    """One bar per task, below the previous one."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._tasks: dict[str, tuple[TaskID, _Rate]] = {}

    def __call__(self, done: int, total: int, what: str, unit: str = "", /) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total or None), _Rate(what, unit)
        task, rate = self._tasks[what]
        text = shown(rate.sentence(done, total))
        self._bars.update(task, completed=done, total=total or None, description=text)

    def epoch(self, metrics: Mapping[str, float], what: str, /) -> None:
        """Show the metrics of an epoch above the bars."""
        self.note(_epoch_sentence(metrics, what))

    def note(self, sentence: str, /) -> None:
        """Show a sentence above the bars."""
        self._bars.console.print(shown(sentence), markup=False, highlight=False, soft_wrap=True)


class _LogLines:
    """A line on stderr every ten seconds; short tasks print nothing."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._rates: dict[str, _Rate] = {}

    def __call__(self, done: int, total: int, what: str, unit: str = "", /) -> None:
        sentence = self._rates.setdefault(what, _Rate(what, unit)).sentence(done, total)
        if time.monotonic() - self._last >= LOG_SECONDS:
            self._last = time.monotonic()
            echo(sentence, err=True)

    def epoch(self, metrics: Mapping[str, float], what: str, /) -> None:
        """Print the metrics of an epoch immediately."""
        echo(_epoch_sentence(metrics, what), err=True)

    def note(self, sentence: str, /) -> None:
        """Print a sentence immediately."""
        echo(sentence, err=True)


class _Rate:
    """The rate of a task over the last half minute, and its remaining time."""

    def __init__(self, what: str, unit: str = "") -> None:
        self._title, self._unit = _title(what), _ABBREVIATED.get(unit, f" {unit}" if unit else "")
        self._size, self._digits = (_MEGA, 1) if unit == "bytes" else (1, 0)
        self._marks = deque[tuple[float, int]](maxlen=RATE_SECONDS)
        self._first = (0.0, 0)

    def sentence(self, done: int, total: int) -> str:
        """Return ``Classifying 1,234 of 20,000 images, 210 images/s, 1:30 left``."""
        now = time.monotonic()
        if not self._marks:
            self._first = (now, done)
        if not self._marks or now - self._marks[-1][0] >= 1:
            self._marks.append((now, done))
        pieces = [self._amount(done, total)]
        ended = bool(total) and done >= total
        start, before = self._first if ended else self._marks[0]
        if now - start >= 1 and done > before:
            rate = (done - before) / (now - start)
            speed = rate / self._size
            pieces.append(f"{speed:,.{0 if speed >= 10 else 1}f}{self._unit}/s")
            if ended:
                pieces.append(f"took {_clock(now - start)}")
            elif total:
                pieces.append(f"{_clock((total - done) / rate)} left")
        return ", ".join(pieces)

    def _amount(self, done: int, total: int) -> str:
        """Return ``Classifying 1,234 of 20,000 images``; a unit in the title is not repeated."""
        amounts = [done / self._size, *([total / self._size] if total else [])]
        numbers = " of ".join(f"{amount:,.{self._digits}f}" for amount in amounts)
        named = self._title.endswith(self._unit)
        return f"{self._title} {numbers}{'' if named else self._unit}"


def _title(what: str) -> str:
    words = _TITLES.get(what, what)
    return words[:1].upper() + words[1:]


def _epoch_sentence(metrics: Mapping[str, float], what: str) -> str:
    """Return ``Training the head: epoch 3/15, loss 0.2134, accuracy 93.1%, ...``."""
    pieces = [f"epoch {int(metrics['epoch'])}/{int(metrics['epochs'])}"]
    for key, name in _METRICS.items():
        if key in metrics:
            value = metrics[key]
            pieces.append(f"{name} {value:.1%}" if "accuracy" in key else f"{name} {value:.4f}")
    return f"{_title(what)}: {', '.join(pieces)}"


def _clock(seconds: float) -> str:
    """Format a time as ``1:30`` or ``2:05:00``."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
