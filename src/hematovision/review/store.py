"""The store of predictions and reviews, used by the front ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from types import TracebackType

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from hematovision.errors import ReviewError
from hematovision.review import decisions, repository
from hematovision.review.database import Database, DeletedImageRow, ModelRow, WaitingRow
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

_PAGE = 100  # reviewed cells read at once, with their images


def _now() -> datetime:
    return datetime.now(UTC)


class ReviewStore:
    """Predictions and reviewers' decisions.

    Every method is one transaction: if it raises, nothing has changed. Threads may share a store;
    each process needs its own. Methods raise `ReviewError` for arguments that are invalid or not in
    the records, and `DatabaseError` if the database fails.

    Parameters
    ----------
    clock : callable returning datetime
        The current time, timezone-aware.

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
        """Open the records; create or migrate them if necessary.

        See `database_url` for the default.
        """
        return cls(Database.open(url), clock)

    @property
    def where(self) -> str:
        """The database's URL without the password."""
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

    # --- predictions -------------------------------------------------------------------------

    def start_batch(self, model: ModelRef) -> int:
        """Add an empty batch for predictions of `model`; return its number."""
        with self._database.writing() as session:
            return repository.start_batch(session, model, self._clock())

    def record(self, batch: int, predictions: Sequence[NewPrediction]) -> list[int]:
        """Record predictions; those for review are queued if their image is kept.

        An image (by content) is queued only once, and not again after a decision: see `known`.

        Returns the prediction ids in order; refused predictions are not recorded.
        """
        with self._database.writing() as session:
            retention = repository.get_retention(session)
            _, model = repository.find_batch(session, batch)
            known = decisions.known(session, {new.sha256 for new in predictions}, model)
            now = self._clock()
            return repository.record(session, batch, predictions, retention, now, known)

    def send_to_review(self, images: Mapping[int, bytes]) -> int:
        """Queue predictions at a person's request, even if they have been decided.

        `images` are PNGs by prediction id, not used if an image is already stored. Returns the
        number of predictions added to the queue.
        """
        with self._database.writing() as session:
            return repository.send_to_review(session, images, repository.get_retention(session))

    def known(self, images: Collection[str], model: ModelRef) -> dict[str, Known]:
        """Return which images (SHA-256) are waiting or decided, for models with these classes."""
        with self._database.reading() as session:
            return decisions.known(session, images, model)

    def models(self) -> list[ModelRef]:
        """Return all recorded models, by name."""
        with self._database.reading() as session:
            rows = session.scalars(select(ModelRow).order_by(ModelRow.name, ModelRow.sha256))
            return [repository.to_model(row) for row in rows]

    def batches(self, limit: int = 50) -> list[Batch]:
        """Return the newest batches, newest first."""
        with self._database.reading() as session:
            return repository.batches(session, _at_least_one(limit, "limit"))

    def predictions(self, batch: int) -> list[RecordedPrediction]:
        """Return the predictions of a batch in the order they were recorded."""
        with self._database.reading() as session:
            return repository.predictions_of(session, batch)

    # --- review ------------------------------------------------------------------------------

    def queues(self) -> list[Queue]:
        """Return the queue of every model with waiting cells, the longest first."""
        with self._database.reading() as session:
            return repository.queues(session, self._clock())

    def claim(
        self, reviewer: str, model_sha256: str, n: int = 12, lease: timedelta = LEASE
    ) -> list[Waiting]:
        """Claim up to `n` waiting cells for a reviewer.

        `lease` is how long they are reserved. Cells already claimed by this reviewer come first,
        then others, each least certain first.
        """
        person, now = clean_person(reviewer), self._clock()
        if lease <= timedelta(0):
            raise ReviewError(f"`lease` must be positive. Received: {lease}")
        with self._database.writing() as session:
            return repository.claim(
                session, person, model_sha256, _at_least_one(n, "n"), lease, now
            )

    def release(self, reviewer: str) -> int:
        """Release all of a reviewer's claims; return their number."""
        with self._database.writing() as session:
            released = session.scalars(
                update(WaitingRow)
                .where(WaitingRow.claimed_by == clean_person(reviewer))
                .values(claimed_by=None, claimed_until=None)
                .returning(WaitingRow.prediction_id)
            )
            return len(released.all())

    def decide(self, prediction_id: int, reviewer: str, label: str | None) -> Decision:
        """Record a claimed cell's class, and renew the reviewer's other claims.

        `label` is a class of the model, or None if the cell is unusable. Raises
        `ReviewConflictError` if the reviewer has not claimed the cell, or somebody else has claimed
        or decided it.
        """
        with self._database.writing() as session:
            person = clean_person(reviewer)
            return decisions.decide(session, prediction_id, person, label, self._clock())

    def undo(self, reviewer: str) -> Decision | None:
        """Undo the reviewer's newest decision in force; return None if there is none.

        The undo is recorded as another step. The cell is queued and claimed by the reviewer, unless
        somebody else has claimed it or its image is no longer kept.
        """
        with self._database.writing() as session:
            return decisions.undo(session, clean_person(reviewer), self._clock())

    def recent(self, reviewer: str, n: int = 12) -> list[Decision]:
        """Return a reviewer's newest steps, including undos, newest first."""
        with self._database.reading() as session:
            return decisions.recent(session, clean_person(reviewer), _at_least_one(n, "n"))

    def history(self, prediction_id: int) -> list[Decision]:
        """Return all steps for a prediction, oldest first."""
        with self._database.reading() as session:
            return decisions.history(session, prediction_id)

    def agreement(self, model_sha256: str) -> Agreement:
        """Count a model's predictions against the decisions in force.

        Cells that are waiting again don't count.
        """
        with self._database.reading() as session:
            return decisions.agreement(session, model_sha256)

    def reviewed(self, model_sha256: str | None = None) -> Iterator[Reviewed]:
        """Yield every labelled cell with a stored image, by prediction id."""
        last = 0
        while True:
            with self._database.reading() as session:
                page = decisions.reviewed(session, model_sha256, last, _PAGE)
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1].prediction.id

    # --- settings and deletions --------------------------------------------------------------

    def retention(self) -> Retention:
        """Return the retention setting."""
        with self._database.reading() as session:
            return repository.get_retention(session)

    def set_retention(self, retention: Retention, by: str) -> None:
        """Set which images are kept; `apply_retention` deletes the others."""
        self.set_setting(repository.RETENTION, json.dumps(asdict(retention)), by)

    def setting(self, key: str) -> str | None:
        """Return a setting, or None if it was never set."""
        with self._database.reading() as session:
            return repository.get_setting(session, key)

    def set_setting(self, key: str, value: str, by: str) -> None:
        """Set `key`; earlier values stay in the records."""
        with self._database.writing() as session:
            repository.set_setting(session, key, value, clean_person(by), self._clock())

    def delete_image(self, sha256: str, by: str) -> Deletion:
        """Delete all predictions for an image, with stored images and decisions."""
        with self._deleting() as session:
            return repository.delete_image(session, sha256, clean_person(by), self._clock())

    def delete_batch(self, batch: int, by: str) -> Deletion:
        """Delete a batch with its predictions, images and decisions."""
        with self._deleting() as session:
            return repository.delete_batch(session, batch, clean_person(by), self._clock())

    def delete_older(self, days: int, by: str) -> Deletion:
        """Delete everything recorded more than `days` days ago."""
        with self._deleting() as session:
            return repository.delete_older(session, days, clean_person(by), self._clock())

    def apply_retention(self) -> Deletion | None:
        """Delete images beyond the retention; return None if there are none.

        Predictions and decisions stay; a cell without its image leaves the queue. Call this when a
        front end starts, and after `set_retention`.
        """
        with self._deleting() as session:
            retention = repository.get_retention(session)
            return repository.apply_retention(session, retention, self._clock())

    def deletions(self) -> list[Deletion]:
        """Return the records of all deletions, newest first."""
        with self._database.reading() as session:
            return repository.deletions(session)

    def deleted_images(self, deletion: int) -> list[str]:
        """Return the SHA-256 of the images affected by a deletion, sorted."""
        with self._database.reading() as session:
            query = select(DeletedImageRow.sha256).where(DeletedImageRow.deletion_id == deletion)
            return list(session.scalars(query.order_by(DeletedImageRow.sha256)))

    @contextmanager
    def _deleting(self) -> Iterator[Session]:
        with self._database.writing(exclusive=True) as session:
            yield session
        self._database.wipe()


def _at_least_one(n: int, what: str) -> int:
    if n < 1:
        raise ReviewError(f"`{what}` must be at least 1. Received: {n}")
    return n
