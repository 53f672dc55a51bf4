"""The one thing that pages, tests and other front ends use to keep and review answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType

from sqlalchemy.orm import Session

from hematovision.errors import ReviewError
from hematovision.review import claiming, deciding, deleting, repository, settings, settled
from hematovision.review.database import Database
from hematovision.review.records import (
    LEASE,
    Agreement,
    Batch,
    Decision,
    Deletion,
    Known,
    ModelRef,
    NewPrediction,
    Queue,
    RecordedPrediction,
    Retention,
    Reviewed,
    Waiting,
    clean_person,
)

__all__ = ["ReviewStore"]

_PAGE = 100  # reviewed cells read at once: their pictures are in memory


def _now() -> datetime:
    return datetime.now(UTC)


class ReviewStore:
    """The records of answers and of what people decided about them.

    Every method is one transaction: when it returns, what it did is on disk; when it raises,
    nothing was done. Threads and processes may use one database at the same time, each process
    by a store of its own. A `DatabaseError` may come from every method.

    Parameters
    ----------
    database : Database
    clock : callable returning datetime
        The time, aware of its zone.

    Examples
    --------
    >>> with ReviewStore.open("sqlite:///records.sqlite3") as store:  # doctest: +SKIP
    ...     for cell in store.claim("Ana", store.queues()[0].model.sha256):
    ...         store.decide(cell.prediction.id, "Ana", "lymphocyte")
    """

    def __init__(self, database: Database, clock: Callable[[], datetime] = _now) -> None:
        self._database = database
        self._clock = clock

    @classmethod
    def open(cls, url: str | None = None, *, clock: Callable[[], datetime] = _now) -> ReviewStore:
        """Open the records; make them, or bring them up to date, if need be.

        Parameters
        ----------
        url : str, optional
            ``sqlite:///PATH`` or ``postgresql://user:password@host/name``. Without it
            ``HEMATOVISION_DATABASE_URL`` says it; without that it is ``records.sqlite3`` in the
            user's data folder (`hematovision.paths.data_folder`).
        clock : callable returning datetime, optional

        Raises
        ------
        DatabaseError
            If the database cannot be opened, or is of a newer version of this program.
        """
        return cls(Database.open(url), clock)

    @property
    def where(self) -> str:
        """The database's URL without its password, to show where records are kept."""
        return self._database.name

    def close(self) -> None:
        """Close all connections to the database."""
        self._database.close()

    def __enter__(self) -> ReviewStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- answers -----------------------------------------------------------------------------

    def start_batch(self, model: ModelRef) -> int:
        """Make an empty batch for the answers of `model`; return its number.

        Raises
        ------
        ReviewError
            If the model is recorded with other classes.
        """
        with self._database.writing() as session:
            return repository.start_batch(session, model, self._clock())

    def record(self, batch: int, answers: Sequence[NewPrediction]) -> list[int]:
        """Record answers; those for review enter the queue if their picture is kept.

        An image, by its content, enters the queue once, and no more after its decision: see
        `known`.

        Returns
        -------
        list of int
            Numbers of the answers in their order, without refused ones: those are not recorded.

        Raises
        ------
        ReviewError
            If there is no such batch, or an answer is not of its model; nothing is recorded then.
        """
        with self._database.writing() as session:
            retention = settings.get_retention(session)
            _, model = repository.find_batch(session, batch)
            known = settled.known(session, {new.sha256 for new in answers}, model)
            return repository.record(session, batch, answers, retention, self._clock(), known)

    def send_to_review(self, answers: Mapping[int, bytes]) -> int:
        """Queue answers that a person wants to look at, also such as were decided before.

        Parameters
        ----------
        answers : mapping of int to bytes
            Numbers of answers, and their pictures as PNG; a picture already kept stays.

        Returns
        -------
        int
            How many are new in the queue; those that wait already are not.

        Raises
        ------
        ReviewError
            If there is no such answer, a picture is no PNG, or no pictures are kept at all.
        """
        with self._database.writing() as session:
            return claiming.send_to_review(session, answers, settings.get_retention(session))

    def known(self, images: Collection[str], model: ModelRef) -> dict[str, Known]:
        """Return which images wait for a person or were decided, by their SHA-256.

        Parameters
        ----------
        images : collection of str
            SHA-256 of the bytes received.
        model : ModelRef
            Answers of models with the same classes count.
        """
        with self._database.reading() as session:
            return settled.known(session, images, model)

    def models(self) -> list[ModelRef]:
        """Return every model that ever started a batch, by name."""
        with self._database.reading() as session:
            return repository.models(session)

    def batches(self, limit: int = 50) -> list[Batch]:
        """Return the newest batches, newest first."""
        with self._database.reading() as session:
            return repository.batches(session, _at_least_one(limit, "limit"))

    def predictions(self, batch: int) -> list[RecordedPrediction]:
        """Return the answers of a batch in the order in which they were recorded.

        Raises
        ------
        ReviewError
            If there is no such batch.
        """
        with self._database.reading() as session:
            return repository.predictions_of(session, batch)

    # --- review ------------------------------------------------------------------------------

    def queues(self) -> list[Queue]:
        """Return for every model with waiting cells how many there are, the most first."""
        with self._database.reading() as session:
            return claiming.queues(session, self._clock())

    def claim(
        self, reviewer: str, model_sha256: str, n: int = 12, lease: timedelta = LEASE
    ) -> list[Waiting]:
        """Return up to `n` waiting cells, which are nobody else's while the lease runs.

        Parameters
        ----------
        reviewer : str
        model_sha256 : str
        n : int
            At least 1.
        lease : timedelta
            How long from now; positive.

        Returns
        -------
        list of Waiting
            First the cells that are still this reviewer's, then further ones, each least certain
            first. Empty if none wait, or the model is not known.
        """
        person, now = clean_person(reviewer), self._clock()
        if lease <= timedelta(0):
            raise ReviewError(f"`lease` must be positive. Received: {lease}")
        with self._database.writing() as session:
            most = _at_least_one(n, "n")
            return claiming.claim(session, person, model_sha256, most, lease, now)

    def release(self, reviewer: str) -> int:
        """Give all cells claimed by a reviewer back to the queue; return how many."""
        with self._database.writing() as session:
            return claiming.release(session, clean_person(reviewer))

    def decide(self, answer: int, reviewer: str, label: str) -> Decision:
        """Record that a claimed cell is of class `label`, and renew the reviewer's other claims.

        Raises
        ------
        ReviewError
            If there is no such answer, or `label` is no class of its model.
        ReviewConflictError
            If somebody else holds or has decided the cell, or it was never claimed.
        """
        with self._database.writing() as session:
            return deciding.decide(session, answer, clean_person(reviewer), label, self._clock())

    def decide_unusable(self, answer: int, reviewer: str) -> Decision:
        """Record that a claimed cell cannot be told, or is no cell; else as `decide`."""
        with self._database.writing() as session:
            return deciding.decide(session, answer, clean_person(reviewer), None, self._clock())

    def undo(self, reviewer: str) -> Decision | None:
        """Take back the reviewer's newest decision that is in force; None if there is none.

        It is appended as a step of its own. The cell waits again, claimed by the reviewer, unless
        somebody else already holds it, or its picture is no longer kept.
        """
        with self._database.writing() as session:
            return deciding.undo(session, clean_person(reviewer), self._clock())

    def recent(self, reviewer: str, n: int = 12) -> list[Decision]:
        """Return a reviewer's newest steps, undone ones and undoing included, newest first."""
        with self._database.reading() as session:
            return deciding.recent(session, clean_person(reviewer), _at_least_one(n, "n"))

    def history(self, answer: int) -> list[Decision]:
        """Return all steps of an answer, oldest first; empty if there are none."""
        with self._database.reading() as session:
            return deciding.history(session, answer)

    def agreement(self, model_sha256: str) -> Agreement:
        """Count a model's answers against what people settled on.

        Decisions that were undone or replaced do not count, nor cells that wait again.

        Raises
        ------
        ReviewError
            If there are no records of the model.
        """
        with self._database.reading() as session:
            return settled.agreement(session, model_sha256)

    def reviewed(self, model_sha256: str | None = None) -> Iterator[Reviewed]:
        """Give every cell settled as a class whose picture is kept, by number of the answer.

        They are read a hundred at a time; whoever takes long with one keeps nobody waiting.
        """
        last = 0
        while True:
            with self._database.reading() as session:
                page = settled.reviewed(session, model_sha256, last, _PAGE)
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1].prediction.id

    # --- settings and deletions --------------------------------------------------------------

    def retention(self) -> Retention:
        """Return which pictures are kept."""
        with self._database.reading() as session:
            return settings.get_retention(session)

    def set_retention(self, retention: Retention, by: str) -> None:
        """Choose which pictures are kept from now on; `apply_keeping` deletes older ones."""
        with self._database.writing() as session:
            settings.set_retention(session, retention, clean_person(by), self._clock())

    def setting(self, key: str) -> str | None:
        """Return a setting, or None if it was never set."""
        with self._database.reading() as session:
            return settings.get_setting(session, key)

    def set_setting(self, key: str, value: str, by: str) -> None:
        """Set `key` from now on; what it was stays in the records, with who and when.

        Raises
        ------
        ReviewError
            If the key is empty or longer than 100 characters, or either is not text.
        """
        with self._database.writing() as session:
            settings.set_setting(session, key, value, clean_person(by), self._clock())

    def delete_image(self, sha256: str, by: str) -> Deletion:
        """Delete all answers to an image, with pictures and decisions, and leave a trace.

        Raises
        ------
        ReviewError
            If there is no answer to such an image.
        """
        with self._deleting() as session:
            return deleting.delete_image(session, sha256, clean_person(by), self._clock())

    def delete_batch(self, batch: int, by: str) -> Deletion:
        """Delete a batch with its answers, pictures and decisions, and leave a trace.

        Raises
        ------
        ReviewError
            If there is no such batch.
        """
        with self._deleting() as session:
            return deleting.delete_batch(session, batch, clean_person(by), self._clock())

    def delete_older(self, days: int, by: str) -> Deletion:
        """Delete everything recorded more than `days` days ago, and leave a trace.

        Raises
        ------
        ReviewError
            If `days` is negative.
        """
        with self._deleting() as session:
            return deleting.delete_older(session, days, clean_person(by), self._clock())

    def apply_retention(self) -> Deletion | None:
        """Delete pictures that are not to be kept, with a trace; None if there are none.

        Answers and decisions stay; a cell without its picture leaves the queue. To be called when
        a page starts and after `keep`.
        """
        with self._deleting() as session:
            retention = settings.get_retention(session)
            return deleting.apply_retention(session, retention, self._clock())

    def deletions(self) -> list[Deletion]:
        """Return the traces of all deletions, newest first."""
        with self._database.reading() as session:
            return deleting.deletions(session)

    def deleted_images(self, deletion: int) -> list[str]:
        """Return the SHA-256 of the images of which a deletion removed something, sorted."""
        with self._database.reading() as session:
            return deleting.deleted_images(session, deletion)

    @contextmanager
    def _deleting(self) -> Iterator[Session]:
        with self._database.writing(alone=True) as session:
            yield session
        self._database.wipe()


def _at_least_one(n: int, what: str) -> int:
    if n < 1:
        raise ReviewError(f"`{what}` must be at least 1. Received: {n}")
    return n
