"""Settings: appended with who and when; the newest of a key holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from hematovision.errors import ReviewError
from hematovision.review.records import Retention, clean_name
from hematovision.review.tables import SettingRow

__all__ = ["get_retention", "get_setting", "set_retention", "set_setting"]

_KEEPING = "keeping"
_MOST_KEY = 100


def get_setting(session: Session, key: str) -> str | None:
    """Return a setting, or None if it was never set."""
    query = select(SettingRow.value).where(SettingRow.key == key)
    return session.scalar(query.order_by(SettingRow.id.desc()).limit(1))


def set_setting(session: Session, key: str, value: str, by: str, now: datetime) -> None:
    """Append a setting.

    Raises
    ------
    ReviewError
        If the key is empty or longer than 100 characters, or either cannot be kept as text.
    """
    fit = clean_name(key) == key and _is_text(value)
    if not fit or not 1 <= len(key) <= _MOST_KEY:
        raise ReviewError(
            f"A setting has a key of 1 to {_MOST_KEY} characters and a value of text without NUL. "
            f"Received: {key[:40]!r} = {value[:40]!r}"
        )
    session.add(SettingRow(key=key, value=value, at=now, by=by))


def _is_text(value: str) -> bool:
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def get_retention(session: Session) -> Retention:
    """Return which pictures are kept; the default of `Keeping` until somebody chose."""
    value = get_setting(session, _KEEPING)
    return Retention() if value is None else Retention(**json.loads(value))


def set_retention(session: Session, retention: Retention, by: str, now: datetime) -> None:
    """Append which pictures are kept from now on."""
    set_setting(session, _KEEPING, json.dumps(asdict(retention)), by, now)
