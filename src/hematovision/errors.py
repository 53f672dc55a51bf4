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
    "OutputError", "RequestError", "ReviewConflictError", "ReviewError", "SplitError",
    "TaxonomyError", "TooManyBytesError", "TooManyPixelsError", "TrainingError",
    "TruncatedImageError", "UnreadableFileError", "WeightsError",
]  # fmt: skip


class HematoVisionError(Exception):
    """Base class of every error that HematoVision raises."""


class ImageError(HematoVisionError):
    """An image cannot be read.

    Parameters
    ----------
    path : str or Path
        The file, or the name given for bytes in memory.
    reason : str
        What is wrong with it and what to do, without the file's name.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(f"{self.path}: {reason}")

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        return type(self), (self.path, self.reason)


class UnreadableFileError(ImageError):
    """The file is missing, a folder, a broken link, or not readable."""


class EmptyImageError(ImageError):
    """The file has no bytes."""


class NotAnImageError(ImageError):
    """The content is not an image of an accepted format, whatever its name."""


class TruncatedImageError(ImageError):
    """The image's data end early or fail the format's own checks."""


class TooManyPixelsError(ImageError):
    """The image's pixels, sides or proportions exceed the limits, or it does not fit in memory.

    The limits are checked against the header, before decoding.
    """


class TooManyBytesError(ImageError):
    """The file is larger than the limit; it was not read."""


class DatasetError(HematoVisionError):
    """A folder cannot be used as a dataset."""


class TaxonomyError(DatasetError):
    """A class name or taxonomy is unknown."""


class AnnotationError(DatasetError):
    """An annotation file is invalid."""


class SplitError(DatasetError):
    """The requested split is impossible."""


class DownloadError(DatasetError):
    """A public dataset was not fetched, or differs from what was published."""


class ModelError(HematoVisionError):
    """A model cannot be used."""


class ModelNotFoundError(ModelError):
    """The name is neither a run folder nor a bundled model."""


class BundleError(ModelError):
    """A bundle is incomplete, altered, or of an unsupported schema."""


class WeightsError(ModelError):
    """Backbone weights are missing or do not fit the backbone."""


class TrainingError(HematoVisionError):
    """Training cannot start, or did not produce a usable model."""


class ReviewError(HematoVisionError):
    """A request about reviews cannot be fulfilled."""


class ReviewConflictError(ReviewError):
    """Another reviewer has claimed or decided the cell; nothing was changed."""


class DatabaseError(ReviewError):
    """The review database cannot be opened, migrated or reached.

    The message names the database, never a password.
    """


class RequestError(HematoVisionError):
    """The HTTP server rejects a request.

    Parameters
    ----------
    kind : str
        One of `hematovision.server.problems.STATUSES`; from the client also ``"unreachable"`` and
        ``"failed"``.
    message : str
        What was received, what is expected, and what to do next.
    """

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        self.message = message
        super().__init__(message)


class ClusterError(HematoVisionError):
    """A cluster cannot be reached, or did not finish its work in time.

    Finished parts are kept; run the same command with ``--resume`` to complete the rest.
    """


class ListeningError(HematoVisionError):
    """A server cannot listen on this address or port, or accept this host name."""


class OutputError(HematoVisionError):
    """A result cannot be written."""


class ConfigurationError(HematoVisionError):
    """A settings file of the CLI cannot be used; the message names the file and the line."""


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
    """

    def __init__(self, extra: str, module: str, message: str) -> None:
        self.extra = extra
        self.module = module
        super().__init__(message)
