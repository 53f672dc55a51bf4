"""Data frames: rows of results for pandas, which is imported when one is made, and not before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hematovision.extras import needs_extra
from hematovision.rows import Row, Schema, Value

if TYPE_CHECKING:
    from pandas import DataFrame as DataFrame

__all__ = ["data_frame", "plain_frame"]

_DTYPES = {"text": "str", "number": "float64", "integer": "Int64", "flag": "boolean"}


def data_frame(schema: Schema, rows: Iterable[Row | Mapping[str, Value]]) -> DataFrame:
    """Return rows as a data frame, with the same columns and dtypes however many there are.

    Text is ``str``, a number ``float64`` (NaN where unknown), an integer ``Int64`` and a flag
    ``boolean`` (both NA where unknown).

    Raises
    ------
    MissingExtraError
        If pandas is not installed.
    """
    values = [row if isinstance(row, Mapping) else row.values() for row in rows]
    columns: dict[str, Any] = {
        column.name: ([one[column.name] for one in values], _DTYPES[column.type])
        for column in schema.columns
    }
    with needs_extra("notebook", "A data frame"):
        import pandas as pd
    return pd.DataFrame(
        {name: pd.Series(found, dtype=dtype) for name, (found, dtype) in columns.items()}
    )


def plain_frame(rows: Iterable[Mapping[str, object]], index: str) -> DataFrame:
    """Return rows as a data frame with the column `index` as its index.

    Raises
    ------
    MissingExtraError
        If pandas is not installed.
    """
    with needs_extra("notebook", "A data frame"):
        import pandas as pd
    return pd.DataFrame.from_records(list(rows), index=index)
