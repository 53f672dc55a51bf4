"""Average precision by faster-coco-eval, the reference implementation of COCO's metric."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hematovision.evaluation.detection.curves import OVERLAPS
from hematovision.evaluation.detection.fields import EvaluatedField
from hematovision.extras import needs_extra

__all__ = ["coco_average_precision"]


def coco_average_precision(
    fields: Sequence[EvaluatedField], index: int
) -> NDArray[np.float64] | None:
    """Return COCO's average precision of one class at each threshold of `OVERLAPS`.

    COCO evaluates the 100 most confident cells of an image; fields hold more, so all are evaluated.

    Parameters
    ----------
    fields : sequence of EvaluatedField
    index : int
        The class.

    Returns
    -------
    ndarray, shape (10,), or None
        None without annotated cells.

    Raises
    ------
    MissingExtraError
        If faster-coco-eval is not installed.
    """
    with needs_extra("eval", "Average precision"):
        from faster_coco_eval import COCO, COCOeval_faster
    found = [field.found.of_class(index) for field in fields]
    annotated = [field.boxes_of(index) for field in fields]
    if not any(map(len, annotated)):
        return None
    if not any(len(one.labels) for one in found):
        return np.zeros(len(OVERLAPS))
    truth = {
        "images": [{"id": i + 1} for i in range(len(fields))],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": _numbered(
            {"image_id": i + 1, "category_id": 1, "iscrowd": 0, **_box(box)}
            for i, boxes in enumerate(annotated)
            for box in boxes
        ),
    }
    results = [
        {"image_id": i + 1, "category_id": 1, "score": float(score), **_box(box)}
        for i, one in enumerate(found)
        for box, score in zip(one.boxes, one.confidence, strict=True)
    ]
    most = max(len(one.labels) for one in found)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(truth)
        evaluation = COCOeval_faster(coco, coco.loadRes(results), iouType="bbox")
        evaluation.params.maxDets = [most]
        evaluation.params.iouThrs = OVERLAPS
        evaluation.evaluate()
        evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"], np.float64)  # T, R, class, area, maxDets
    return np.asarray(precision[:, :, 0, 0, 0].mean(axis=1))


def _box(box: NDArray[np.float64]) -> dict[str, Any]:
    x, y, width, height = (*box[:2], *(box[2:] - box[:2]))
    return {
        "bbox": [float(x), float(y), float(width), float(height)],
        "area": float(width * height),
    }


def _numbered(rows: Any) -> list[dict[str, Any]]:
    # An id of 0 would count as "no match".
    return [{"id": number, **row} for number, row in enumerate(rows, start=1)]
