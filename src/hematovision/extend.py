"""Add a backbone, an annotation format, a metric or an exporter from outside the package.

Each is registered by a call, for the current process, or found among the entry points of installed
distributions, for every command. ``docs/extend.md`` has an example of each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hematovision.data.formats import FORMATS
from hematovision.data.formats.annotations import (
    AnnotatedField,
    AnnotationFormat,
    Annotations,
    NamedBox,
)
from hematovision.data.formats.writing import BoxToWrite, FieldToWrite, FieldWriter, Header
from hematovision.evaluation.metric import METRICS, Metric
from hematovision.evaluation.outcomes import Outcomes
from hematovision.model.registry import BACKBONES, KerasBackbone
from hematovision.workflows.export import ModelToExport
from hematovision.workflows.exporters import EXPORTERS, Exporter

__all__ = [
    "AnnotatedField", "AnnotationFormat", "Annotations", "BoxToWrite", "Exporter", "FieldToWrite",
    "FieldWriter", "Header", "KerasBackbone", "Metric", "ModelToExport", "NamedBox", "Outcomes",
    "register_backbone", "register_exporter", "register_format", "register_metric",
]  # fmt: skip


def register_backbone(
    name: str,
    backbone: KerasBackbone | Callable[[str | None], Any],
    *,
    replace: bool = False,
) -> None:
    """Add a backbone that `train` can use; its models predict without it.

    Parameters
    ----------
    name : str
        The name for ``hematovision train --backbone``.
    backbone : KerasBackbone or callable
        A function that takes ``"imagenet"``, or None for random weights, and returns a
        ``keras.Model`` from images (224, 224, 3), scaled to [-1, 1], to a feature map (7, 7, D).
    replace : bool
        Whether to replace an extension that has this name.

    Raises
    ------
    ValueError
        If the name is invalid or taken.
    TypeError
        If `backbone` is something else.

    Examples
    --------
    >>> import hematovision
    >>> def large(weights):
    ...     return keras.applications.MobileNetV3Large(
    ...         include_top=False, weights=weights, input_shape=(224, 224, 3),
    ...         include_preprocessing=False,
    ...     )
    >>> hematovision.register_backbone("mobilenetv3-large", large, replace=True)
    """
    BACKBONES.register(name, backbone, replace=replace)


def register_format(
    name: str, format_: AnnotationFormat | type[AnnotationFormat], *, replace: bool = False
) -> None:
    """Add a format of annotated fields, for import, conversion, evaluation and exported cells.

    Parameters
    ----------
    name : str
        The name for ``--format``, ``--from``, ``--to`` and ``--export``.
    format_ : AnnotationFormat
        An instance or a subclass of `extend.AnnotationFormat`.
    replace : bool
        Whether to replace an extension that has this name.

    Raises
    ------
    ValueError
        If the name is invalid or taken.
    TypeError
        If `format_` is something else.

    Examples
    --------
    >>> import hematovision
    >>> from hematovision.extend import AnnotationFormat, Annotations
    >>> class Empty(AnnotationFormat):
    ...     def read(self, source, annotations=None, names=None):
    ...         return Annotations(())
    >>> hematovision.register_format("empty", Empty, replace=True)
    """
    FORMATS.register(name, format_, replace=replace)


def register_metric(
    name: str, metric: Metric | Callable[[Outcomes], float | None], *, replace: bool = False
) -> None:
    """Add a metric of classifiers, which every evaluation and comparison computes.

    It has a bootstrap interval, and appears in ``metrics.json`` as ``added``, in the terminal, and
    in the reports.

    Parameters
    ----------
    name : str
        The name in ``metrics.json``.
    metric : Metric or callable
        A function that takes `extend.Outcomes` and returns one number, or None where the metric
        is undefined.
    replace : bool
        Whether to replace an extension that has this name.

    Raises
    ------
    ValueError
        If the name is invalid or taken.
    TypeError
        If `metric` is something else.

    Examples
    --------
    >>> import hematovision
    >>> def worst_recall(predictions):
    ...     labels, right = predictions.labels, predictions.labels == predictions.predicted
    ...     return min(right[labels == label].mean() for label in set(labels))
    >>> hematovision.register_metric("worst_recall", worst_recall, replace=True)
    """
    METRICS.register(name, metric, replace=replace)


def register_exporter(name: str, exporter: Exporter, *, replace: bool = False) -> None:
    r"""Add a file format of ``hematovision export``.

    Parameters
    ----------
    name : str
        The name for ``--to``.
    exporter : Exporter
        The suffix of the file, and a function that takes an `extend.ModelToExport` and returns the
        content of the file.
    replace : bool
        Whether to replace an extension that has this name.

    Raises
    ------
    ValueError
        If the name is invalid or taken.
    TypeError
        If `exporter` is something else.

    Examples
    --------
    >>> import hematovision
    >>> from hematovision.extend import Exporter
    >>> def class_names(model):
    ...     return "\n".join(model.classes).encode()
    >>> hematovision.register_exporter("classes", Exporter(".txt", class_names), replace=True)
    """
    EXPORTERS.register(name, exporter, replace=replace)
