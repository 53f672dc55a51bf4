"""Every way HematoVision can fail, so that a caller knows them before reading any other code.

.. code-block:: text

    HematoVisionError
    ├── ImageError                 one image could not be used; carries ``path`` and ``reason``
    │   ├── UnreadableFileError    missing, a directory, a broken link, no permission
    │   ├── EmptyImageError        zero bytes
    │   ├── NotAnImageError        the content is no image of an accepted kind
    │   ├── TruncatedImageError    an image whose data end early or fail their checksum
    │   ├── TooManyPixelsError     beyond the limits of pixels, sides or memory
    │   └── TooManyBytesError      more bytes than the limit, refused before reading
    ├── DatasetError               a folder of images cannot serve as a dataset
    │   ├── TaxonomyError          a class name or taxonomy that is not known
    │   ├── AnnotationError        a box file that cannot be understood; names file and line
    │   ├── SplitError             the asked-for split cannot be made
    │   └── DownloadError          a public set could not be fetched or failed its hash
    ├── ModelError                 a model cannot be used
    │   ├── ModelNotFoundError     neither a run folder nor a bundled name
    │   ├── BundleError            the folder is there, its content is not a usable bundle
    │   └── WeightsError           backbone weights are missing or of another architecture
    ├── TrainingError              learning cannot start or did not converge to anything usable
    ├── ReviewError                the records of reviews cannot do what was asked
    │   ├── ReviewConflictError    somebody else holds or has decided the cell; nothing was changed
    │   └── DatabaseError          the database cannot be opened, brought up to date or reached
    ├── RequestError               a request to the service is not answered; carries ``kind``
    ├── ClusterError               a cluster did not do its part; what it did is kept
    ├── ListeningError             a server cannot listen where it was asked to
    ├── OutputError                a result cannot be written where it was asked for
    └── MissingExtraError          an optional dependency is needed; names the extra to install

Every message says what was received, what was expected, and what to do next.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "AnnotationError",
    "BundleError",
    "ClusterError",
    "DatabaseError",
    "DatasetError",
    "DownloadError",
    "EmptyImageError",
    "HematoVisionError",
    "ImageError",
    "ListeningError",
    "MissingExtraError",
    "ModelError",
    "ModelNotFoundError",
    "NotAnImageError",
    "OutputError",
    "RequestError",
    "ReviewConflictError",
    "ReviewError",
    "SplitError",
    "TaxonomyError",
    "TooManyBytesError",
    "TooManyPixelsError",
    "TrainingError",
    "TruncatedImageError",
    "UnreadableFileError",
    "WeightsError",
]


class HematoVisionError(Exception):
    """Base of every error that HematoVision raises on purpose."""


class ImageError(HematoVisionError):
    """One image could not be used.

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
    """The file is missing, a directory, a broken link, or may not be read."""


class EmptyImageError(ImageError):
    """The file has no bytes."""


class NotAnImageError(ImageError):
    """The content is not an image of an accepted kind, whatever the file is called."""


class TruncatedImageError(ImageError):
    """The image's data end early or fail the format's own checks."""


class TooManyPixelsError(ImageError):
    """The image has more pixels, or longer or more uneven sides, than the limits or memory allow.

    Of the limits it is told by its header, before anything is decoded.
    """


class TooManyBytesError(ImageError):
    """The file is larger than the limit; it was not read."""


class DatasetError(HematoVisionError):
    """A folder of images cannot serve as a dataset."""


class TaxonomyError(DatasetError):
    """A class name or taxonomy is not known."""


class AnnotationError(DatasetError):
    """A box file cannot be understood."""


class SplitError(DatasetError):
    """The asked-for split into parts cannot be made."""


class DownloadError(DatasetError):
    """A public dataset could not be fetched, or is not what was published."""


class ModelError(HematoVisionError):
    """A model cannot be used."""


class ModelNotFoundError(ModelError):
    """The name is neither a run folder nor a bundled model."""


class BundleError(ModelError):
    """A bundle is incomplete, altered, or of a schema this version does not read."""


class WeightsError(ModelError):
    """Backbone weights are missing or do not fit MobileNetV2."""


class TrainingError(HematoVisionError):
    """Learning cannot start, or led to nothing usable."""


class ReviewError(HematoVisionError):
    """The records of reviews cannot do what was asked."""


class ReviewConflictError(ReviewError):
    """Somebody else holds or has decided the cell; nothing was changed."""


class DatabaseError(ReviewError):
    """The database of the records cannot be opened, brought up to date or reached.

    Its message names the database, never a password.
    """


class RequestError(HematoVisionError):
    """A request to the service is not answered by a model.

    Parameters
    ----------
    kind : str
        One of `hematovision.server.problems.STATUSES`; from the client also ``"unreachable"`` and
        ``"failed"``.
    message : str
        What was received, what was expected, what to do.
    """

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        self.message = message
        super().__init__(message)


class ClusterError(HematoVisionError):
    """A cluster cannot be reached, or did not do its part of the work in time.

    What it did is kept; the same command with ``--resume`` does the rest.
    """


class ListeningError(HematoVisionError):
    """A server cannot listen at this address or port, or be reached by this host name."""


class OutputError(HematoVisionError):
    """A result cannot be written where it was asked for."""


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
