"""TIFFs packed field by field, for variants that no library writes."""

import struct

import numpy as np

from image_files import noise, save, scene, tiff

KINDS = {1: "B", 2: "s", 3: "H", 4: "I", 7: "s", 11: "f", 12: "d", 16: "Q"}
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
DESCRIPTION, STRIPS, SAMPLES, ROWS, STRIP_BYTES, PLANES = 270, 273, 277, 278, 279, 284


def packed(fields, pixels, *, order="<", big=False):
    """Pack pages: `fields` is a list per page of (tag, kind, values), `pixels` all their bytes.

    Pixels begin at byte 16; values that are bytes stay as they are.
    """
    mark = {"<": b"II", ">": b"MM"}[order]
    start = 16 + len(pixels) + len(pixels) % 2
    header = struct.pack(
        f"{order}HHHQ" if big else f"{order}HI", *((43, 8, 0) if big else (42,)), start
    )
    data = bytearray((mark + header).ljust(16, b"\0") + pixels + bytes(len(pixels) % 2))
    for number, page in enumerate(fields):
        data += _directory(page, len(data), order, big, last=number == len(fields) - 1)
    return bytes(data)


def _directory(fields, start, order, big, *, last):
    inline = 8 if big else 4
    size = (8 + 20 * len(fields) + 8) if big else (2 + 12 * len(fields) + 4)
    entries, values = b"", b""
    for tag, kind, content in sorted(fields, key=lambda field: field[0]):
        is_text = isinstance(content, bytes)
        count = len(content)
        raw = content if is_text else struct.pack(f"{order}{count}{KINDS[kind]}", *content)
        if len(raw) > inline:
            place = start + size + len(values)
            values += raw + bytes(len(raw) % 2)
            raw = struct.pack(f"{order}{'Q' if big else 'I'}", place)
        entries += struct.pack(f"{order}HH{'Q' if big else 'I'}", tag, kind, count)
        entries += raw.ljust(inline, b"\0")
    following = 0 if last else start + size + len(values)
    count = struct.pack(f"{order}{'Q' if big else 'H'}", len(fields))
    return count + entries + struct.pack(f"{order}{'Q' if big else 'I'}", following) + values


def fields_of(image, *, place=16, without=(), **changes):
    """Return the fields of one uncompressed strip, RGB or grey; `changes` are ``t270=(2, b"")``."""
    height, width, samples = np.atleast_3d(image).shape
    bits = 8 * image.dtype.itemsize
    fields = {
        WIDTH: (4, (width,)),
        HEIGHT: (4, (height,)),
        BITS: (3, (bits,) * samples),
        COMPRESSION: (3, (1,)),
        PHOTOMETRIC: (3, (2 if samples >= 3 else 1,)),
        STRIPS: (4, (place,)),
        SAMPLES: (3, (samples,)),
        ROWS: (4, (height,)),
        STRIP_BYTES: (4, (image.nbytes,)),
    }
    fields |= {int(tag[1:]): field for tag, field in changes.items()}
    return [(tag, *field) for tag, field in fields.items() if tag not in without]


def one_page(image=None, *, order="<", big=False, **changes):
    """Pack an image as one uncompressed strip."""
    image = scene() if image is None else image
    pixels = image.astype(image.dtype.newbyteorder(order)).tobytes()
    return packed([fields_of(image, **changes)], pixels, order=order, big=big)


def grey_pages(planes, *, order="<", big=False, first=(), rest=()):
    """Pack grey pages; `first` and `rest` are further fields of the first page and the others."""
    pages, pixels = [], b""
    for number, plane in enumerate(planes):
        further = {f"t{tag}": field for tag, *field in (rest if number else first)}
        pages.append(fields_of(plane, place=16 + len(pixels), **further))
        pixels += plane.astype(plane.dtype.newbyteorder(order)).tobytes()
    return packed(pages, pixels, order=order, big=big)


def channels(image=None):
    """Return the three channels of an RGB image, each by itself."""
    return list(np.moveaxis(scene() if image is None else image, 2, 0))


def ome(planes, **metadata):
    """Write OME-TIFF with tifffile."""
    return tiff(np.stack(planes), ome=True, metadata={"axes": "CYX", **metadata})


def imagej(planes, axes="CYX", **metadata):
    """Write ImageJ's hyperstack with tifffile."""
    return tiff(np.stack(planes), imagej=True, metadata={"axes": axes, **metadata})


def ome_xml(sizes=(3, 1, 1), channels="", blocks="<TiffData/>", attributes=""):
    """Write OME-XML by hand: sizes C, Z and T, then the content of Pixels."""
    size_c, size_z, size_t = sizes
    return (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:1"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
        f'Type="uint16" SizeX="32" SizeY="24" SizeC="{size_c}" SizeZ="{size_z}" SizeT="{size_t}" '
        f"{attributes}>{channels}{blocks}</Pixels></Image></OME>"
    ).encode() + b"\0"


def all_tiffs():
    """One small TIFF of each further kind, by name; every one is readable up to its last byte."""
    deep = noise(24, 32, 3, dtype=np.uint16)
    planes = np.stack(channels(deep))
    strips = {"compression": "zlib", "rowsperstrip": 5}
    tiles = {"compression": "zlib", "tile": (16, 16), "predictor": True}
    text = b"ImageJ=1.54f\nimages=3\nchannels=3\nmode=composite\n\0"
    return {
        "ome.tif": ome(channels()),
        "deep-ome.tif": tiff(planes, ome=True, metadata={"axes": "CYX"}, **strips),
        "composite.tif": grey_pages(channels(), first=[(270, 2, text)]),
        "planes.tif": tiff(planes, photometric="rgb", planarconfig="separate", **tiles),
        "big-endian-big.tif": one_page(order=">", big=True),
        "no-lengths.tif": one_page(without=(279,)),
        "twelve.tif": one_page(deep // 16, t281=(3, (4095,))),
        "strips.tif": save(noise(64, 48, 3), "TIFF", compression="jpeg", strip_size=4096),
        "zstd.tif": save(scene(), "TIFF", compression="zstd"),
    }
