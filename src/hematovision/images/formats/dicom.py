"""DICOM: one frame of a file, with its greys and colours as the header describes them (PS3.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hematovision.images.formats import jpeg, jpeg2000
from hematovision.images.formats.elements import PREFIX, UNKNOWN_LENGTH, Header, read_header
from hematovision.images.formats.greys import Greys, apply_palette, to_rgb, to_whole_bytes
from hematovision.images.formats.picture import Picture, Source

__all__ = ["PREFIX", "inspect"]

_FRAGMENT, _NO_MORE = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_MAX_FRAGMENTS = 2**14

_PLAIN = frozenset({f"1.2.840.10008.1.2{part}" for part in ("", ".1", ".2")})
_JPEG = "1.2.840.10008.1.2.4.50"
_JPEG_2000 = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})
_RLE = "1.2.840.10008.1.2.5"
_GREY, _INVERTED_GREY, _PALETTE, _RGB = "MONOCHROME2", "MONOCHROME1", "PALETTE COLOR", "RGB"
_YBR = "YBR_FULL"
_YBR_CODED = frozenset({_YBR, "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", _RGB})
_SAMPLES = {_GREY: 1, _INVERTED_GREY: 1, _PALETTE: 1, _RGB: 3, _YBR: 3}

_SAMPLES_PER_PIXEL, _PHOTOMETRIC, _PLANAR, _FRAMES = 0x00280002, 0x00280004, 0x00280006, 0x00280008
_ROWS, _COLUMNS, _ALLOCATED, _STORED = 0x00280010, 0x00280011, 0x00280100, 0x00280101
_HIGH_BIT, _SIGNED, _CENTRE, _WIDTH = 0x00280102, 0x00280103, 0x00281050, 0x00281051
_INTERCEPT, _SLOPE = 0x00281052, 0x00281053
_DESCRIPTORS: Final = (0x00281101, 0x00281102, 0x00281103)
_TABLES: Final = (0x00281201, 0x00281202, 0x00281203)


@dataclass(frozen=True, slots=True)
class _Frame:
    """The header of a file with one frame, and what it says of it."""

    header: Header
    photometric: str
    width: int
    height: int

    def one(self, tag: int, default: int = 0) -> int:
        return next(iter(self.header.numbers(tag)), default)


def inspect(source: Source) -> Picture:
    """Read a DICOM file's header, check that its one frame is whole, and decode it.

    Greys are scaled by the window that the header declares, else by the range of its bits.
    """
    frame = _read_frame(source)
    syntax = frame.header.syntax
    try:
        if syntax == _JPEG or syntax in _JPEG_2000:
            return _coded(source, frame)
        if syntax in _PLAIN:
            return _rendered(source, frame, _native(source, frame))
        if syntax == _RLE:
            return _rendered(source, frame, _run_lengths(source, frame))
    except (ValueError, OverflowError) as error:
        raise source.damaged(f"its DICOM header makes no sense ({error})") from error
    raise source.unsupported(
        f"it is a DICOM image in the transfer syntax {syntax[:64]!r}, not uncompressed, JPEG "
        "baseline, JPEG 2000 or RLE",
        "Save it uncompressed (dcmdjpeg, gdcmconv --raw), or as an 8-bit PNG.",
    )


def _read_frame(source: Source) -> _Frame:
    header = read_header(source)
    (height, *_), (width, *_) = (header.numbers(tag) or (0,) for tag in (_ROWS, _COLUMNS))
    source.check_size(width, height)
    frames = header.text(_FRAMES) or "1"
    if frames != "1":
        raise source.unsupported(
            f"it is a DICOM file of {frames[:12]} frames", "Save the frames as images of their own."
        )
    return _Frame(header, header.text(_PHOTOMETRIC), width, height)


def _greys(source: Source, frame: _Frame) -> Greys:
    """Return how the samples are stored; refuse what is not of 8 or 16 bits."""
    stored, header = frame.one(_STORED), frame.header
    greys = Greys(
        allocated=frame.one(_ALLOCATED),
        stored=stored,
        high=frame.one(_HIGH_BIT, stored - 1),
        signed=bool(frame.one(_SIGNED)),
        inverted=frame.photometric == _INVERTED_GREY,
        slope=next(iter(header.decimals(_SLOPE)), 1.0),
        intercept=next(iter(header.decimals(_INTERCEPT)), 0.0),
        window=_window(header),
    )
    samples = frame.one(_SAMPLES_PER_PIXEL, 1)
    if greys.allocated not in (8, 16) or not greys.is_sound:
        raise source.unsupported(
            f"it is a DICOM image of {greys.stored} bits in {greys.allocated}, not of up to 16 in "
            "8 or 16"
        )
    if frame.photometric not in _SAMPLES or samples != _SAMPLES[frame.photometric]:
        colours = frame.photometric[:16] or "no colours"
        raise source.unsupported(f"it is a DICOM image of {samples} samples in {colours}")
    if greys.signed and (greys.window is None or samples > 1):
        raise source.unsupported(
            "it is a DICOM image of signed samples without a window, which do not say what is "
            "black and what is white",
            "Choose the window in the program that made it and save 8 bits, unsigned.",
        )
    return greys


def _window(header: Header) -> tuple[float, float] | None:
    """Return the first centre and width that the header gives (PS3.3, C.11.2)."""
    centres, widths = header.decimals(_CENTRE), header.decimals(_WIDTH)
    if not centres or not widths or widths[0] < 1 or not np.isfinite([centres[0], widths[0]]).all():
        return None
    return centres[0], widths[0]


def _native(source: Source, frame: _Frame) -> NDArray[Any]:
    """Return uncompressed samples (H, W, 1 or 3)."""
    greys, header = _greys(source, frame), frame.header
    count = _SAMPLES[frame.photometric]
    needed = frame.width * frame.height * count * greys.allocated // 8
    if header.length < needed:
        raise source.damaged(
            f"its DICOM pixels have {header.length:,} bytes; its size needs {needed:,}"
        )
    data = source.take(header.start, needed)
    flat = np.frombuffer(data, np.uint8 if greys.allocated == 8 else f"{header.order}u2")
    if count > 1 and frame.one(_PLANAR):
        return flat.reshape(count, frame.height, frame.width).transpose(1, 2, 0)
    return flat.reshape(frame.height, frame.width, count)


def _run_lengths(source: Source, frame: _Frame) -> NDArray[Any]:
    """Return run-length coded samples: one segment for each byte of each sample (PS3.5, G)."""
    greys = _greys(source, frame)
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
    start = frame.header.start
    if frame.header.length != UNKNOWN_LENGTH:
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
    if frame.header.syntax == _JPEG:
        if not grey:
            data = _with_colours(data, ybr=frame.photometric != _RGB)
        picture = jpeg.inspect(replace(source, data=data))
    else:
        picture = jpeg2000.inspect(replace(source, data=data))
    if (picture.width, picture.height) != (frame.width, frame.height):
        raise source.damaged("its DICOM header and the image inside differ in size")
    if grey and frame.one(_STORED, 8) > 8:
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
    greys, header = _greys(source, frame), frame.header
    if frame.photometric == _PALETTE:
        tables = [
            (header.numbers(descriptor), header.values.get(table, b""))
            for descriptor, table in zip(_DESCRIPTORS, _TABLES, strict=True)
        ]
        pixels = apply_palette(source, tables, header.order, greys.values(samples[..., 0]))
    elif frame.photometric in (_RGB, _YBR):
        pixels = greys.scaled(samples)
        pixels = to_rgb(pixels) if frame.photometric == _YBR else pixels
    else:
        pixels = np.broadcast_to(greys.shown(samples), (frame.height, frame.width, 3))
    return Picture("DICOM", frame.width, frame.height, b"", pixels=pixels)
