"""DICOM: one frame of a file, with its greys and colours as the header describes them (PS3.3)."""

from __future__ import annotations

import importlib.util
import io
import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import MissingExtraError, NotAnImageError
from hematovision.images.formats import jpeg, jpeg2000
from hematovision.images.formats.greys import Greys, apply_palette, to_rgb, to_whole_bytes
from hematovision.images.formats.picture import Picture, Source

__all__ = ["PREFIX", "inspect"]

PREFIX = b"DICM"
"""Stands at byte 128 of every DICOM file (PS3.10, 7.1)."""

# A header is read element by element, so that it may be as long as this, the pixels not counted.
_MAX_HEADER = 2**20
_FRAGMENT, _NO_MORE = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_PIXELS_LITTLE, _PIXELS_BIG = b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"
_UNKNOWN_LENGTH = 0xFFFFFFFF
_MAX_FRAGMENTS = 2**14

_IMPLICIT, _EXPLICIT, _BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
_JPEG = "1.2.840.10008.1.2.4.50"
_JPEG_2000 = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})
_RLE = "1.2.840.10008.1.2.5"
_GREY, _INVERTED_GREY, _PALETTE, _RGB = "MONOCHROME2", "MONOCHROME1", "PALETTE COLOR", "RGB"
_YBR = "YBR_FULL"
_YBR_CODED = frozenset({_YBR, "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", _RGB})
_SAMPLES = {_GREY: 1, _INVERTED_GREY: 1, _PALETTE: 1, _RGB: 3, _YBR: 3}


@dataclass(frozen=True, slots=True)
class _Frame:
    """The header of a file with one frame, and where its pixels begin."""

    header: Any
    pixels: int
    syntax: str
    photometric: str
    width: int
    height: int


def inspect(source: Source) -> Picture:
    """Read a DICOM file's header, check that its one frame is whole, and decode it.

    Greys are scaled by the window that the header declares, else by the range of its bits.
    """
    if importlib.util.find_spec("pydicom") is None:
        missing = MissingExtraError("formats", "pydicom", "it is a DICOM image. Reading it")
        raise NotAnImageError(source.name, str(missing))
    frame = _read_frame(source)
    if frame.syntax == _JPEG or frame.syntax in _JPEG_2000:
        return _coded(source, frame)
    if frame.syntax in (_IMPLICIT, _EXPLICIT, _BIG):
        samples = _native(source, frame)
    elif frame.syntax == _RLE:
        samples = _run_lengths(source, frame)
    else:
        raise source.unsupported(
            f"it is a DICOM image in the transfer syntax {frame.syntax}, not uncompressed, JPEG "
            "baseline, JPEG 2000 or RLE",
            "Save it uncompressed (dcmdjpeg, gdcmconv --raw), or as an 8-bit PNG.",
        )
    return _rendered(source, frame, samples)


def _read_frame(source: Source) -> _Frame:
    """Read the header, in which nothing may be deflated, and check what it says of the frame."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    stream = io.BytesIO(source.data[:_MAX_HEADER])
    if b"1.2.840.10008.1.2.1.99" in source.data[:1024]:  # may inflate to any size
        raise source.unsupported("it is a deflated DICOM file")
    try:
        header = pydicom.dcmread(stream, stop_before_pixels=True)
        frame = _frame(source, header, stream.tell())
    except (InvalidDicomError, EOFError, OSError, struct.error) as error:
        raise source.damaged(f"its DICOM header cannot be read ({error})") from error
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise source.damaged(f"its DICOM header makes no sense ({error})") from error
    except (NotImplementedError, RecursionError, AssertionError) as error:
        raise source.damaged(f"its DICOM header makes no sense ({error!r})") from error
    source.check_size(frame.width, frame.height)
    frames = int(header.get("NumberOfFrames") or 1)
    if frames != 1:
        raise source.unsupported(
            f"it is a DICOM file of {frames} frames", "Save the frames as images of their own."
        )
    return frame


def _frame(source: Source, header: Any, pixels: int) -> _Frame:
    if source.data[pixels : pixels + 4] not in (_PIXELS_LITTLE, _PIXELS_BIG):
        raise source.unsupported(
            "it is a DICOM file without an image, or with a header of more than 1 MB"
        )
    return _Frame(
        header=header,
        pixels=pixels,
        syntax=str(header.file_meta.TransferSyntaxUID),
        photometric=str(header.PhotometricInterpretation).strip(),
        width=int(header.Columns),
        height=int(header.Rows),
    )


def _content(source: Source, frame: _Frame) -> tuple[int, int]:
    """Return where the value of the pixels begins, and its length (PS3.5, 7.1)."""
    order = ">" if frame.syntax == _BIG else "<"
    if frame.syntax == _IMPLICIT:
        return frame.pixels + 8, source.unpack("<I", frame.pixels + 4)[0]
    if source.take(frame.pixels + 4, 2) not in (b"OB", b"OW", b"UN"):
        raise source.damaged("its DICOM pixels are of no known type")
    return frame.pixels + 12, source.unpack(f"{order}I", frame.pixels + 8)[0]


def _greys(source: Source, frame: _Frame) -> Greys:
    """Return how the samples are stored; refuse what is not of 8 or 16 bits."""
    header = frame.header
    greys = Greys(
        allocated=int(header.BitsAllocated),
        stored=int(header.BitsStored),
        high=int(header.get("HighBit", int(header.BitsStored) - 1)),
        signed=bool(header.get("PixelRepresentation", 0)),
        inverted=frame.photometric == _INVERTED_GREY,
        slope=float(header.get("RescaleSlope") or 1),
        intercept=float(header.get("RescaleIntercept") or 0),
        window=_window(header),
    )
    samples = int(header.get("SamplesPerPixel", 1))
    if greys.allocated not in (8, 16) or not greys.is_sound:
        raise source.unsupported(
            f"it is a DICOM image of {greys.stored} bits in {greys.allocated}, not of up to 16 in "
            "8 or 16"
        )
    if frame.photometric not in _SAMPLES or samples != _SAMPLES[frame.photometric]:
        raise source.unsupported(
            f"it is a DICOM image of {samples} samples in {frame.photometric or 'no colours'}"
        )
    if greys.signed and (greys.window is None or samples > 1):
        raise source.unsupported(
            "it is a DICOM image of signed samples without a window, which do not say what is "
            "black and what is white",
            "Choose the window in the program that made it and save 8 bits, unsigned.",
        )
    return greys


def _window(header: Any) -> tuple[float, float] | None:
    """Return the first centre and width that the header gives (PS3.3, C.11.2)."""
    pair = []
    for name in ("WindowCenter", "WindowWidth"):
        value = header.get(name)
        if value is None or value == "":
            return None
        pair.append(float(value if isinstance(value, int | float | str) else value[0]))
    return (pair[0], pair[1]) if pair[1] >= 1 and np.isfinite(pair).all() else None


def _native(source: Source, frame: _Frame) -> NDArray[Any]:
    """Return uncompressed samples (H, W, 1 or 3)."""
    greys = _checked(source, frame)
    count = _SAMPLES[frame.photometric]
    start, length = _content(source, frame)
    needed = frame.width * frame.height * count * greys.allocated // 8
    if length < needed:
        raise source.damaged(f"its DICOM pixels have {length:,} bytes; its size needs {needed:,}")
    data = source.take(start, needed)
    order = ">" if frame.syntax == _BIG else "<"
    flat = np.frombuffer(data, np.uint8 if greys.allocated == 8 else f"{order}u2")
    planes = int(frame.header.get("PlanarConfiguration", 0) or 0) if count > 1 else 0
    if planes:
        return flat.reshape(count, frame.height, frame.width).transpose(1, 2, 0)
    return flat.reshape(frame.height, frame.width, count)


def _checked(source: Source, frame: _Frame) -> Greys:
    try:
        return _greys(source, frame)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise source.damaged(f"its DICOM header makes no sense ({error})") from error


def _run_lengths(source: Source, frame: _Frame) -> NDArray[Any]:
    """Return run-length coded samples: one segment for each byte of each sample (PS3.5, G)."""
    greys = _checked(source, frame)
    count, size = _SAMPLES[frame.photometric], greys.allocated // 8
    content = replace(source, data=_fragments(source, frame))
    segments, *offsets = content.unpack("<16I", 0)
    if segments != count * size:
        raise source.damaged(f"its DICOM pixels have {segments} segments, not {count * size}")
    stops = [*offsets[1:segments], len(content.data)]
    pixels = frame.width * frame.height
    planes = [
        to_whole_bytes(content, start, stop, pixels)
        for start, stop in zip(offsets[:segments], stops, strict=True)
    ]
    joined = np.stack(planes).reshape(count, size, frame.height, frame.width)
    if size == 2:  # The high byte comes first.
        joined = joined[:, :1].astype(np.uint16) << np.uint16(8) | joined[:, 1:]
    return joined[:, 0].transpose(1, 2, 0)


def _fragments(source: Source, frame: _Frame) -> bytes:
    """Join the fragments of the one frame; the first item is a table of offsets (PS3.5, A.4)."""
    start, length = _content(source, frame)
    if length != _UNKNOWN_LENGTH:
        raise source.damaged("its DICOM pixels are compressed, but not in fragments")
    pieces = list[bytes]()
    for _ in range(_MAX_FRAGMENTS):
        mark, (size,) = source.take(start, 4), source.unpack("<I", start + 4)
        if mark == _NO_MORE:
            return b"".join(pieces[1:])
        if mark != _FRAGMENT:
            raise source.damaged("its DICOM fragments do not follow each other")
        pieces.append(source.take(start + 8, size))
        start += 8 + size
    raise source.overloaded("DICOM file", _MAX_FRAGMENTS, "fragments")


def _coded(source: Source, frame: _Frame) -> Picture:
    """Describe the JPEG or JPEG 2000 inside; it has to be what the header says."""
    data = _fragments(source, frame)
    grey = frame.photometric in (_GREY, _INVERTED_GREY)
    if not grey and frame.photometric not in _YBR_CODED:
        raise source.unsupported(f"it is a compressed DICOM image in {frame.photometric}")
    if frame.syntax == _JPEG:
        if not grey:
            data = _with_colours(data, ybr=frame.photometric != _RGB)
        picture = jpeg.inspect(replace(source, data=data))
    else:
        picture = jpeg2000.inspect(replace(source, data=data))
    if (picture.width, picture.height) != (frame.width, frame.height):
        raise source.damaged("its DICOM header and the image inside differ in size")
    if int(frame.header.get("BitsStored", 8)) > 8 and grey:
        raise source.unsupported(
            "it is a DICOM image of compressed 16-bit greys",
            "Save it uncompressed (gdcmconv --raw), or as an 8-bit PNG.",
        )
    return replace(picture, negative=frame.photometric == _INVERTED_GREY)


def _with_colours(data: bytes, *, ybr: bool) -> bytes:
    """Put Adobe's marker into a JPEG, which says whether it is YCbCr, if it has none and no JFIF's.

    Inside DICOM, the header says it; the decoder would guess YCbCr.
    """
    start = data[: 2**12]
    if b"Adobe\0" in start or b"JFIF\0" in start:
        return data
    marker = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([ybr])
    return data[:2] + marker + data[2:]


def _rendered(source: Source, frame: _Frame, samples: NDArray[Any]) -> Picture:
    greys = _checked(source, frame)
    if frame.photometric == _PALETTE:
        pixels = apply_palette(source, frame.header, greys.values(samples[..., 0]))
    elif frame.photometric in (_RGB, _YBR):
        pixels = greys.scaled(samples)
        pixels = to_rgb(pixels) if frame.photometric == _YBR else pixels
    else:
        pixels = np.broadcast_to(greys.shown(samples), (frame.height, frame.width, 3))
    return Picture("DICOM", frame.width, frame.height, b"", pixels=pixels)
