"""The errors that HematoVision raises.

.. code-block:: text

    HematoVisionError
    ├── ImageError                 an image cannot be read; carries ``path`` and ``reason``
    │   ├── UnreadableFileError    missing, a folder, a broken link, no permission
    │   ├── EmptyImageError        zero bytes
    │   ├── NotAnImageError        the content is not an image of an accepted format
    │   ├── TruncatedImageError    the data end early or fail a checksum
    │   ├── TooManyPixelsError     beyond the limits of pixels, sides or memory
    │   └── TooManyBytesError      a file beyond the limit, rejected before reading
    ├── DatasetError               a folder cannot be used as a dataset
    │   ├── TaxonomyError          an unknown class name or taxonomy
    │   ├── AnnotationError        an invalid annotation file; names file and line
    │   ├── SplitError             the requested split is impossible
    │   └── DownloadError          a public dataset was not fetched, or fails its hash
    ├── ModelError                 a model cannot be used
    │   ├── ModelNotFoundError     neither a run folder nor a bundled name
    │   ├── BundleError            the folder does not contain a usable bundle
    │   └── WeightsError           backbone weights are missing or of another architecture
    ├── PluginError                something added from outside is broken; names its distribution
    ├── TrainingError              training cannot start or did not produce a usable model
    ├── ReviewError                a request about reviews cannot be fulfilled
    │   ├── ReviewConflictError    another reviewer has claimed or decided the cell
    │   └── DatabaseError          the database cannot be opened, migrated or reached
    ├── RequestError               the HTTP server rejects a request; carries ``kind``
    ├── ClusterError               a cluster did not finish its work; finished parts are kept
    ├── ListeningError             a server cannot listen on an address
    ├── OutputError                a result cannot be written
    ├── ConfigurationError         an invalid settings file of the CLI; names file and line
    └── MissingExtraError          an optional dependency is missing; names the extra to install

Every message states what was received, what is expected, and what to do next.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "AnnotationError", "BundleError", "ClusterError", "ConfigurationError", "DatabaseError",
    "DatasetError", "DownloadError", "EmptyImageError", "HematoVisionError", "ImageError",
    "ListeningError", "MissingExtraError", "ModelError", "ModelNotFoundError", "NotAnImageError",
    "OutputError", "PluginError", "RequestError", "ReviewConflictError", "ReviewError",
    "SplitError", "TaxonomyError", "TooManyBytesError", "TooManyPixelsError", "TrainingError",
    "TruncatedImageError", "UnreadableFileError", "WeightsError",
]  # fmt: skip


class HematoVisionError(Exception):
    """Base class of every error that HematoVision raises.

    Examples
    --------
    >>> import hematovision
    >>> try:
    ...     hematovision.load("no-such-model")
    ... except hematovision.HematoVisionError as error:
    ...     print(type(error).__name__)
    ModelNotFoundError
    """


class ImageError(HematoVisionError):
    """An image cannot be read.

    Parameters
    ----------
    path : str or Path
        The file, or the name given for bytes in memory.
    reason : str
        What is wrong with it and what to do, without the file's name.

    Examples
    --------
    >>> import hematovision
    >>> try:
    ...     hematovision.load().predict_proba("nowhere.png")
    ... except hematovision.ImageError as error:
    ...     print(error.path, "-", error.reason)
    nowhere.png - the file does not exist. Check the path.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(f"{self.path}: {reason}")

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        return type(self), (self.path, self.reason)


class UnreadableFileError(ImageError):
    """The file is missing, a folder, a broken link, or not readable.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.load().predict_proba("nowhere.png")
    Traceback (most recent call last):
    hematovision.errors.UnreadableFileError: nowhere.png: the file does not exist. Check the path.
    """


class EmptyImageError(ImageError):
    """The file has no bytes.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.load().predict_proba(b"")
    Traceback (most recent call last):
    hematovision.errors.EmptyImageError: image 0: the file is empty (0 bytes). Copy it again ...
    """


class NotAnImageError(ImageError):
    """The content is not an image of an accepted format, whatever its name.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.load().predict_proba(b"text")
    Traceback (most recent call last):
    hematovision.errors.NotAnImageError: image 0: its content is not an image ...
    """


class TruncatedImageError(ImageError):
    """The image's data end early or fail the format's own checks.

    Examples
    --------
    >>> import hematovision
    >>> from pathlib import Path
    >>> hematovision.load().predict_proba(Path("cell.png").read_bytes()[:1000])
    Traceback (most recent call last):
    hematovision.errors.TruncatedImageError: image 0: ...
    """


class TooManyPixelsError(ImageError):
    """The image's pixels, sides or proportions exceed the limits, or it does not fit in memory.

    The limits are checked against the header, before decoding.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.load(max_pixels=1000).predict_proba("cell.png")
    Traceback (most recent call last):
    hematovision.errors.TooManyPixelsError: cell.png: it declares 200 x 200 = 40,000 pixels; the ...
    """


class TooManyBytesError(ImageError):
    """The file is larger than the limit; it was not read.

    Examples
    --------
    >>> import hematovision
    >>> error = hematovision.TooManyBytesError("cell.png", "the file has 9 GB; ...")
    >>> error.path, isinstance(error, hematovision.ImageError)
    ('cell.png', True)
    """


class DatasetError(HematoVisionError):
    """A folder cannot be used as a dataset.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.read_dataset("nowhere")
    Traceback (most recent call last):
    hematovision.errors.DatasetError: ...
    """


class TaxonomyError(DatasetError):
    """A class name or taxonomy is unknown.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.PBC8.resolve("pollen")
    Traceback (most recent call last):
    hematovision.errors.TaxonomyError: 'pollen' is not a class of taxonomy 'pbc8'. ...
    """


class AnnotationError(DatasetError):
    """An annotation file is invalid.

    Examples
    --------
    >>> import hematovision
    >>> from pathlib import Path
    >>> Path("split.csv").write_text("no,such,columns")
    15
    >>> hematovision.read_dataset("cells", splits="split.csv")
    Traceback (most recent call last):
    hematovision.errors.AnnotationError: split.csv...
    """


class SplitError(DatasetError):
    """The requested split is impossible.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.import_dataset("annotated", "never", split="90/90")
    Traceback (most recent call last):
    hematovision.errors.SplitError: ...
    """


class DownloadError(DatasetError):
    """A public dataset could not be downloaded, or differs from what was published.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.download("no-such-set", "public")
    Traceback (most recent call last):
    hematovision.errors.DownloadError: There is no public dataset 'no-such-set'. ...
    """


class ModelError(HematoVisionError):
    """A model cannot be used.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.compare("pbc8", "pbc8", "cells")
    Traceback (most recent call last):
    hematovision.errors.ModelError: Both models are the same: ...
    """


class ModelNotFoundError(ModelError):
    """The name is neither a run folder nor a bundled model.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.load("no-such-model")
    Traceback (most recent call last):
    hematovision.errors.ModelNotFoundError: There is no model 'no-such-model': ...
    """


class BundleError(ModelError):
    """A bundle is incomplete, altered, or of an unsupported schema.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.load("blood-fields")
    Traceback (most recent call last):
    hematovision.errors.BundleError: ... hematovision.FieldAnalyzer.load('blood-fields'). ...
    """


class WeightsError(ModelError):
    """Backbone weights are missing or do not fit the backbone.

    Examples
    --------
    >>> import hematovision
    >>> options = hematovision.TrainOptions(weights="no-such-file.h5")
    >>> hematovision.train("cells", "runs/never", options)
    Traceback (most recent call last):
    hematovision.errors.WeightsError: ...
    """


class PluginError(HematoVisionError):
    """An added backbone, format, metric or exporter is broken.

    It can't be imported, is of another type, failed, or returned something unusable. The message
    names the distribution and the entry point.

    Examples
    --------
    >>> import hematovision
    >>> from hematovision.extend import AnnotationFormat
    >>> class Broken(AnnotationFormat):
    ...     def read(self, source, annotations=None, names=None):
    ...         return []
    >>> hematovision.register_format("broken", Broken, replace=True)
    >>> hematovision.import_dataset("cells", "runs/never", format="broken")
    Traceback (most recent call last):
    hematovision.errors.PluginError: ...'broken' (registered by a call) returned list...
    """


class TrainingError(HematoVisionError):
    """Training cannot start, or did not produce a usable model.

    Examples
    --------
    >>> import hematovision, pathlib
    >>> for label in ("RBC", "WBC"):
    ...     folder = pathlib.Path("damaged", "Train", label)
    ...     folder.mkdir(parents=True)
    ...     _ = (folder / "cell.png").write_bytes(label.encode())
    >>> hematovision.train("damaged", "runs/never")
    Traceback (most recent call last):
    hematovision.errors.TrainingError: The train split has no readable image ...
    """


class ReviewError(HematoVisionError):
    """A request about reviews cannot be fulfilled.

    Examples
    --------
    >>> import hematovision
    >>> issubclass(hematovision.ReviewError, hematovision.HematoVisionError)
    True
    """


class ReviewConflictError(ReviewError):
    """Another reviewer has claimed or decided the cell; nothing was changed.

    Examples
    --------
    >>> import hematovision
    >>> raise hematovision.ReviewConflictError("The cell was decided by another reviewer.")
    Traceback (most recent call last):
    hematovision.errors.ReviewConflictError: The cell was decided by another reviewer.
    """


class DatabaseError(ReviewError):
    """The review database cannot be opened, migrated or reached.

    The message names the database, never a password.

    Examples
    --------
    >>> import hematovision
    >>> issubclass(hematovision.DatabaseError, hematovision.ReviewError)
    True
    """


class RequestError(HematoVisionError):
    """A request to the HTTP server failed or was rejected.

    Parameters
    ----------
    kind : str
        One of `hematovision.server.problems.STATUSES`; from the client also ``"unreachable"`` and
        ``"failed"``.
    message : str
        What was received, what is expected, and what to do next.

    Examples
    --------
    >>> import hematovision
    >>> try:
    ...     hematovision.Client(url).classify("cell.png", model="no-such-model")
    ... except hematovision.RequestError as error:
    ...     print(error.kind)
    unknown model
    """

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        self.message = message
        super().__init__(message)


class ClusterError(HematoVisionError):
    """A cluster cannot be reached, or did not finish its work in time.

    Finished parts are kept; run the same command with ``--resume`` to complete the rest.

    Examples
    --------
    >>> import hematovision
    >>> error = hematovision.ClusterError("No response from the cluster within 60 seconds.")
    >>> isinstance(error, hematovision.HematoVisionError)
    True
    """


class ListeningError(HematoVisionError):
    """A server cannot listen on this address or port, or accept this host name.

    Examples
    --------
    >>> import hematovision
    >>> error = hematovision.ListeningError("Port 8000 is in use.")
    >>> isinstance(error, hematovision.HematoVisionError)
    True
    """


class OutputError(HematoVisionError):
    """A result cannot be written.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.classify("cell.png", out="predictions.docx")
    Traceback (most recent call last):
    hematovision.errors.OutputError: The name of the table predictions.docx must end in one of ...
    """


class ConfigurationError(HematoVisionError):
    """A settings file of the CLI cannot be used; the message names the file and the line.

    Examples
    --------
    >>> import hematovision
    >>> issubclass(hematovision.ConfigurationError, hematovision.HematoVisionError)
    True
    """


class MissingExtraError(HematoVisionError):
    """An optional dependency is not installed; see `hematovision.extras.missing_extra`.

    Parameters
    ----------
    extra : str
        The extra of this package that installs it.
    module : str
        The module that was not found.
    message : str
        What needs it, and the command that installs it.

    Examples
    --------
    >>> import hematovision
    >>> from hematovision.extras import missing_extra
    >>> error = missing_extra("notebook", "pandas", "A data frame")
    >>> error.extra, error.module
    ('notebook', 'pandas')
    """

    def __init__(self, extra: str, module: str, message: str) -> None:
        self.extra = extra
        self.module = module
        super().__init__(message)
