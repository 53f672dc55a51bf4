"""DICOM: one frame, read by pydicom within limits, as 8-bit greys or colours (PS3.3).

`formats.inspect` imports this module only for DICOM files, since pydicom is an extra.
"""

from __future__ import annotations

import io
import logging
import struct
import threading
import warnings
from collections.abc import Iterator, MutableSequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import get_frame
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import data_element_generator, read_dataset
from pydicom.pixels.processing import apply_color_lut, apply_rescale, apply_windowing
from pydicom.pixels.utils import pixel_array
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    RLELossless,
)

from hematovision.errors import ImageError
from hematovision.images.formats import jpeg
from hematovision.images.formats.isobmff import inspect_jpeg2000
from hematovision.images.formats.source import EncodedImage, Source

__all__ = ["inspect"]

_PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)

_GREY, _INVERTED_GREY, _PALETTE, _RGB = "MONOCHROME2", "MONOCHROME1", "PALETTE COLOR", "RGB"
_YBR = ("YBR_FULL", "YBR_FULL_422")
_YBR_CODED = frozenset({*_YBR, "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", _RGB})
_SAMPLES = {_GREY: 1, _INVERTED_GREY: 1, _PALETTE: 1, _RGB: 3, **dict.fromkeys(_YBR, 3)}

_PHOTOMETRIC = "PhotometricInterpretation"
_START = 132  # bytes before the first element
_PIXELS = Tag("PixelData")
_COLOURS = ("Red", "Green", "Blue")
_TABLES = frozenset(Tag(f"{colour}PaletteColorLookupTableData") for colour in _COLOURS)
_WANTED: list[BaseTag | int] = [
    *(_PIXELS, *_TABLES),
    *(Tag(f"{colour}PaletteColorLookupTableDescriptor") for colour in _COLOURS),
    *map(Tag, (
        "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", _PHOTOMETRIC,
        "PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
        "WindowCenter", "WindowWidth", "VOILUTFunction", "RescaleSlope", "RescaleIntercept",
    )),
]  # fmt: skip

# A read takes a few microseconds, and an element two to four reads. Headers have about a hundred
# elements; reaching the limit takes a second.
_MAX_READS = 2**16
_MAX_VALUE, _MAX_TABLE = 2**10, 2**17  # bytes of a value: pydicom converts lists one by one
_CHARACTER_SET = (b"\x08\0\x05\0", b"\0\x08\0\x05")
_RUN_PADDING = 2**8
_BAND_SAMPLES = 2**20

# pydicom's errors on damaged files, including bugs triggered by hostile files.
_PYDICOM_ERRORS = (
    OSError, ValueError, struct.error, EOFError, LookupError, TypeError, AttributeError,
    ArithmeticError, AssertionError, RuntimeError, BytesLengthException, InvalidDicomError,
)  # fmt: skip

# Python's warning filters and pydicom's logger are global, so only one thread at a time may change
# and restore them.
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Frame:
    """A file's only frame, as described in the header."""

    dataset: Dataset
    syntax: UID
    photometric: str
    width: int
    height: int
    samples: int
    allocated: int
    stored: int
    high: int
    signed: bool


class _Elements(io.BytesIO):
    """A file that limits the number of reads."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads_left = _MAX_READS
        self._in_character_set = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Like `io.BytesIO.read`, but raise `ValueError` after too many reads.

        pydicom looks up a character set entry by entry, also inside sequences, so each of its bytes
        counts as a read.
        """
        self.reads_left -= max(size or 0, 1) if self._in_character_set else 1
        if self.reads_left < 0:
            raise ValueError("too many elements")
        data = super().read(size)
        self._in_character_set = data[:4] in _CHARACTER_SET or (
            self._in_character_set and size == 4
        )
        return data


def inspect(source: Source) -> EncodedImage:
    """Read a DICOM file's header, check that its one frame is complete, and decode it.

    Greys are scaled by the window in the header, or by the range of their bits.
    """
    with _quiet(source, "header"):
        frame = _read_frame(source)
    with _quiet(source, "pixels"):
        if frame.syntax == JPEGBaseline8Bit or frame.syntax in JPEG2000TransferSyntaxes:
            return _coded(source, frame)
        _check_samples(source, frame)
        return _rendered(source, frame)


@contextmanager
def _quiet(source: Source, part: str) -> Iterator[None]:
    """Silence pydicom's warnings and log records, and convert its errors.

    Log records still reach the handlers of pydicom's own logger.
    """
    logger = logging.getLogger("pydicom")
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        propagate, logger.propagate = logger.propagate, False
        try:
            yield
        except ImageError:
            raise
        except EOFError as error:
            raise source.damaged(f"the file ends inside its DICOM {part}") from error
        except _PYDICOM_ERRORS as error:
            raise source.damaged(f"its DICOM {part} cannot be read") from error
        finally:
            logger.propagate = propagate


def _read_frame(source: Source) -> _Frame:
    dataset, syntax = _read_elements(source)
    frame = _Frame(
        dataset=dataset,
        syntax=syntax,
        photometric="".join(filter(str.isprintable, str(_first(dataset, _PHOTOMETRIC) or ""))),
        width=_whole(dataset, "Columns"),
        height=_whole(dataset, "Rows"),
        samples=_whole(dataset, "SamplesPerPixel", 1),
        allocated=_whole(dataset, "BitsAllocated"),
        stored=_whole(dataset, "BitsStored"),
        high=_whole(dataset, "HighBit", _whole(dataset, "BitsStored") - 1),
        signed=bool(_whole(dataset, "PixelRepresentation")),
    )
    source.check_size(frame.width, frame.height)
    if (frames := _whole(dataset, "NumberOfFrames", 1)) != 1:
        raise source.unsupported(
            f"it is a DICOM file of {frames} frames; expected 1", "Save each frame as an image."
        )
    return frame


def _read_elements(source: Source) -> tuple[Dataset, UID]:
    """Read the needed elements up to the pixels, and the transfer syntax."""
    elements = _Elements(source.data)
    elements.seek(_START)
    try:
        meta = read_dataset(
            elements, is_implicit_VR=False, is_little_endian=True,
            stop_when=lambda tag, *_: tag >> 16 != 2, specific_tags=[Tag("TransferSyntaxUID")],
        )  # fmt: skip
        syntax = _check_syntax(source, str(meta.get("TransferSyntaxUID") or ""))
        dataset = _up_to_pixels(elements, syntax)
    except _PYDICOM_ERRORS:
        if elements.reads_left < 0:
            raise source.overloaded("DICOM file", _MAX_READS, "parts before its pixels") from None
        raise
    if not dataset.get("PixelData"):
        raise source.unsupported(
            "it is a DICOM file without an image, or it ends before the image",
            "Copy the file again from its source, or leave it out.",
        )
    dataset.file_meta = FileMetaDataset(meta)
    return dataset, syntax


def _up_to_pixels(elements: _Elements, syntax: UID) -> Dataset:
    """Keep the wanted elements; stop at the pixels."""
    kept = dict[BaseTag, RawDataElement | DataElement]()
    for element in data_element_generator(
        elements, syntax.is_implicit_VR, syntax.is_little_endian,
        stop_when=_check_length, specific_tags=_WANTED,
    ):  # fmt: skip
        kept[element.tag] = element
        if element.tag == _PIXELS:
            break
    return Dataset(kept)


def _check_length(tag: BaseTag, _: str | None, length: int) -> bool:
    """Raise `ValueError` if an element's value is longer than any real one."""
    most = _MAX_TABLE if tag in _TABLES else _MAX_VALUE
    if tag in _WANTED and tag != _PIXELS and length > most:
        raise ValueError("a value that is too long")
    return False


def _check_syntax(source: Source, name: str) -> UID:
    """Reject unsupported transfer syntaxes, and deflated ones, which have no size limit."""
    syntax = UID(name)
    if not name:
        raise source.damaged("the DICOM file has no transfer syntax, which defines its encoding")
    if syntax == DeflatedExplicitVRLittleEndian:
        raise source.unsupported("it is a deflated DICOM file", "Save it uncompressed.")
    if syntax not in (*_PLAIN, *JPEG2000TransferSyntaxes, JPEGBaseline8Bit, RLELossless):
        raise source.unsupported(
            f"it is a DICOM image in the transfer syntax {name[:64]!r}; expected uncompressed, "
            "JPEG baseline, JPEG 2000 or RLE",
            "Save it uncompressed (dcmdjpeg, gdcmconv --raw), or as an 8-bit PNG.",
        )
    return syntax


def _first(dataset: Dataset, keyword: str) -> Any:
    """Return an element's first value, or None."""
    value = dataset.get(keyword)
    if isinstance(value, MutableSequence):
        value = value[0] if value else None
    return None if value == "" else value


def _whole(dataset: Dataset, keyword: str, default: int = 0) -> int:
    value = _first(dataset, keyword)
    return default if value is None else int(value)


def _check_samples(source: Source, frame: _Frame) -> None:
    """Reject samples that do not have 8 or 16 bits, or have no defined black and white."""
    inside = 1 <= frame.stored <= frame.high + 1 <= frame.allocated
    if frame.allocated not in (8, 16) or not inside:
        raise source.unsupported(
            f"it is a DICOM image of {frame.stored} bits stored in {frame.allocated}; expected up "
            "to 16 bits stored in 8 or 16"
        )
    if frame.samples != _SAMPLES.get(frame.photometric):
        colours = frame.photometric[:16] or "no colours"
        raise source.unsupported(
            f"it is a DICOM image of {frame.samples} samples per pixel in {colours}; expected "
            "grey, palette, RGB or YBR_FULL"
        )
    grey = frame.photometric in (_GREY, _INVERTED_GREY)
    if frame.signed and not (grey and _has_window(frame)):
        raise source.unsupported(
            "it is a DICOM image of signed samples without a window, so black and white are "
            "undefined",
            "Set the window in the program that made it, and save it with unsigned 8-bit samples.",
        )


def _has_window(frame: _Frame) -> bool:
    """Return whether the header has a usable window (PS3.3, C.11.2.1.2)."""
    names = ("WindowCenter", "WindowWidth")
    centre, width = (_first(frame.dataset, name) for name in names)
    return centre is not None and width is not None and bool(np.isfinite(centre) and width >= 1)


def _coded(source: Source, frame: _Frame) -> EncodedImage:
    """Describe the embedded JPEG or JPEG 2000, which must match the header.

    It is decoded by our own decoder: pydicom's fills missing parts with grey.
    """
    data = get_frame(frame.dataset.PixelData, 0, number_of_frames=1)
    grey = frame.photometric in (_GREY, _INVERTED_GREY)
    if not grey and frame.photometric not in _YBR_CODED:
        raise source.unsupported(f"it is a compressed DICOM image in {frame.photometric[:16]}")
    if frame.syntax == JPEGBaseline8Bit:
        if not grey:
            data = jpeg.with_colours(data, ybr=frame.photometric != _RGB)
        encoded = jpeg.inspect(replace(source, data=data))
    else:
        encoded = inspect_jpeg2000(replace(source, data=data))
    if (encoded.width, encoded.height) != (frame.width, frame.height):
        raise source.damaged("its DICOM header and the image inside differ in size")
    if grey and frame.stored > 8:
        raise source.unsupported(
            "it is a DICOM image of compressed 16-bit greys",
            "Save it uncompressed (gdcmconv --raw), or as an 8-bit PNG.",
        )
    return replace(encoded, negative=frame.photometric == _INVERTED_GREY)


def _rendered(source: Source, frame: _Frame) -> EncodedImage:
    """Decode samples and look each one up in a table of all possible values."""
    samples = _decoded(source, frame)
    if frame.photometric == _PALETTE:
        pixels = _looked_up(samples, _palette(source, frame))
    elif frame.samples == 3:
        pixels = _looked_up(samples, _full_range(frame))
        if frame.photometric in _YBR:  # pydicom's conversion needs ten times the memory
            pixels = np.asarray(Image.fromarray(pixels, "YCbCr").convert("RGB"))
    else:
        greys = _windowed(frame) if _has_window(frame) else _full_range(frame)
        greys = 255 - greys if frame.photometric == _INVERTED_GREY else greys
        pixels = np.broadcast_to(
            _looked_up(samples, greys)[..., None], (frame.height, frame.width, 3)
        )
    return EncodedImage("DICOM", frame.width, frame.height, b"", pixels=pixels)


def _looked_up(samples: NDArray[Any], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Look up samples in bands of rows, since NumPy's indices use eight bytes per sample."""
    result = np.empty((*samples.shape, *table.shape[1:]), np.uint8)
    rows = max(1, _BAND_SAMPLES // samples[0].size)
    for top in range(0, len(samples), rows):
        result[top : top + rows] = table[samples[top : top + rows]]
    return result


def _decoded(source: Source, frame: _Frame) -> NDArray[Any]:
    """Return the stored bits of each sample, unsigned: (H, W), or (H, W, 3) for colours."""
    run_lengths = frame.syntax == RLELossless
    if run_lengths:
        _check_runs(source, frame)
    samples = pixel_array(
        frame.dataset,
        index=0,
        raw=True,
        decoding_plugin="pydicom" if run_lengths else "",
        # pydicom assumes that BitsStored - 1 is the highest stored bit, and ignores HighBit.
        correct_unused_bits=False,
        pixel_representation=0,
        planar_configuration=_whole(frame.dataset, "PlanarConfiguration"),
    )
    samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    samples <<= frame.allocated - 1 - frame.high
    samples >>= frame.allocated - frame.stored
    return samples


def _check_runs(source: Source, frame: _Frame) -> None:
    """Check that run lengths do not exceed the image's bytes; pydicom sets no limit."""
    content = replace(source, data=get_frame(frame.dataset.PixelData, 0, number_of_frames=1))
    segments, *offsets = content.unpack("<16I", 0)
    stops = [*offsets[1:segments], len(content.data)]
    most = frame.width * frame.height + _RUN_PADDING
    for start, stop in zip(offsets[:segments], stops, strict=False):
        segment = content.take(start, stop - start)
        if len(segment) > 2 * most or _run_bytes(segment, most) > most:
            raise source.damaged("its DICOM pixels have more run lengths than its size needs")


def _run_bytes(segment: bytes, most: int) -> int:
    """Return the decoded size of a segment (PackBits; PS3.5, G.3), counted up to `most`."""
    position = found = 0
    while position < len(segment) and found <= most:
        control = segment[position]
        if control < 128:
            found += control + 1
            position += control + 2
        else:
            found += 257 - control if control > 128 else 0
            position += 2 if control > 128 else 1
    return found


def _full_range(frame: _Frame) -> NDArray[np.uint8]:
    """Return the table that scales the range of the stored bits, rounded half up."""
    largest = (1 << frame.stored) - 1
    scaled = (np.arange(largest + 1) * 510 + largest) // (2 * largest)
    return scaled.astype(np.uint8)


def _windowed(frame: _Frame) -> NDArray[np.uint8]:
    """Return the table that maps the window to black and white (PS3.3, C.11.2)."""
    numbers = np.arange(1 << frame.stored)
    if frame.signed:
        numbers -= (numbers >> frame.stored - 1) << frame.stored
    window = Dataset()  # of an 8-bit image, so that pydicom scales to its range
    window.PhotometricInterpretation, window.BitsStored, window.PixelRepresentation = _GREY, 8, 0
    window.WindowCenter = _first(frame.dataset, "WindowCenter")
    window.WindowWidth = _first(frame.dataset, "WindowWidth")
    window.VOILUTFunction = _first(frame.dataset, "VOILUTFunction") or "LINEAR"
    for keyword, default in (("RescaleSlope", 1), ("RescaleIntercept", 0)):
        if _first(frame.dataset, keyword) is None:  # pydicom would also ignore the other one
            setattr(frame.dataset, keyword, default)
    greys = apply_windowing(apply_rescale(numbers, frame.dataset), window)
    if not np.isfinite(greys).all():
        raise ValueError("a window that is not a number")
    return np.asarray(np.floor(np.clip(greys, 0, 255) + 0.5), np.uint8)


def _palette(source: Source, frame: _Frame) -> NDArray[np.uint8]:
    """Return the palette's 8-bit colours, one for each possible sample value."""
    if not frame.syntax.is_little_endian:
        raise source.unsupported("it is a big-endian DICOM image with a palette")
    colours = apply_color_lut(np.arange(1 << frame.stored), frame.dataset)
    descriptor = frame.dataset.RedPaletteColorLookupTableDescriptor
    deep = colours.dtype == np.uint16 and descriptor[2] > 8
    return np.asarray(colours >> 8 if deep else colours).astype(np.uint8)
