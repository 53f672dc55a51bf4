"""Image files of every kind, made in memory for the tests of `hematovision.images`."""

import base64
import io
import struct
import zlib

import cv2
import numpy as np
import tifffile
from PIL import Image, features

EOI = b"\xff\xd9"

# `scene(64, 96)` as HEIC, and the same turned by a quarter: nothing that tests need writes it.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAA"
    "AAAAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABegABAAAAAAAAADsAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAA"
    "AAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA1mlwcnAAAAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34"
    "+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoDCBBZbqSSmu"
    "bgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABgAAAA"
    "QAAAABBwaXhpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAAENtZGF0AAAANygBrxmA93yFN//31/f9"
    "Aev+JoLtPheRQH2pn+u0CAMOf/n87HnUrfv9pXULZX7rCfPCj88Kj7A="
)
TURNED_HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAaFtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAA"
    "AAAAAAAAAAAAADRpbG9jAAAAAERAAAIAAQAAAAABxQABAAAAAAAAAJUAAgAAAAACWgABAAAAAAAAACQAAAA4aWlu"
    "ZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAAA"
    "4GlwcnAAAADAaXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMA"
    "AAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoDCBBZbqSSmubgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAi"
    "QAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABgAAAAQAAAABBwaXhpAAAAAAMICAgAAAAJaXJvdAMA"
    "AAAYaXBtYQAAAAAAAAABAAEFgQIDBIUAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAAMFtZGF0AAAAkSgBrwng"
    "40ecuq///n/v//2oXkP2lgqSCUnnwV8n+blf/5OuGsWVHKvsS081nWS2gr4AWjdR1B4552oQTX7PACnge8iBp5Zg"
    "pEkZ1FCVu7IYV11TcofYnop5vJm8//ywbuP5ZSO/+PSFoQnT+Ph/0G3q6NV1j1c/+CvI+2sV+DsLx8FHNq0CUKdb"
    "8x4gPs+UOPAAAAAGRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAA="
)


def scene(height=24, width=32):
    """Four flat quarters (red, green / blue, dark), so that every rotation differs."""
    image = np.empty((height, width, 3), dtype=np.uint8)
    image[: height // 2, : width // 2] = (200, 30, 40)
    image[: height // 2, width // 2 :] = (30, 190, 50)
    image[height // 2 :, : width // 2] = (20, 40, 210)
    image[height // 2 :, width // 2 :] = (60, 50, 45)
    return image


def noise(*shape, dtype=np.uint8, seed=0):
    limit = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, limit, shape, dtype=dtype, endpoint=True)


def save(image, kind, mode=None, **options):
    """Encode an array or a Pillow image with Pillow."""
    pillow_image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    (pillow_image.convert(mode) if mode else pillow_image).save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(image=None, **options):
    image = scene() if image is None else image
    return save(image, "JPEG", **{"quality": 95, "subsampling": 0, **options})


def tiff(image, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, image, **{"photometric": "minisblack", **options})
    return buffer.getvalue()


def cv2_png(image):
    """Encode with OpenCV, which writes 16-bit PNGs (and takes BGR)."""
    return cv2.imencode(".png", image)[1].tobytes()


def chunk(kind, content):
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(width, height, bits, colour, rows, *extra, interlace=0):
    """Pack a PNG from its raw rows; `extra` chunks come before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def with_chunk(data, kind, content):
    """Put a chunk behind a PNG's header."""
    return data[:33] + chunk(kind, content) + data[33:]


def exif(orientation, order="<"):
    """An EXIF block with the orientation only."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return mark + struct.pack(f"{order}IH", 8, 1) + entry + struct.pack(f"{order}I", 0)


def bmp(rows, width, height, bits, *, compression=0, masks=b"", header=40, file_size=None):
    pixels = b"".join(rows)
    start = 14 + header + len(masks)
    shape = struct.pack("<IiiHHI", header, width, height, 1, bits, compression)
    shape += struct.pack("<IiiII", len(pixels), 0, 0, 0, 0)
    total = start + len(pixels) if file_size is None else file_size
    return struct.pack("<2sIII", b"BM", total, 0, start) + shape + masks + pixels


def all_kinds():
    """One small file of each kind and variant, by name; every one of them is readable."""
    rgb, rgba = scene(), np.dstack([scene(), noise(24, 32)])
    deep = noise(24, 32, 3, dtype=np.uint16)
    frames = [Image.fromarray(scene()), Image.fromarray(scene()[::-1].copy())]
    more = {"save_all": True, "append_images": frames[1:]}
    palette = Image.fromarray(rgb).quantize(16)
    newer = {"jpg_2000": ("rgb.jp2", "JPEG2000"), "avif": ("rgb.avif", "AVIF")}
    return {
        **{name: save(rgb, kind) for key, (name, kind) in newer.items() if features.check(key)},
        "grey.jpg": save(rgb, "JPEG", "L"),
        "rgb.jpg": jpeg(),
        "progressive.jpg": jpeg(progressive=True, subsampling=2),
        "cmyk.jpg": save(rgb, "JPEG", "CMYK"),
        "turned.jpg": jpeg(exif=b"Exif\0\0" + exif(6), restart_marker_rows=1),
        "rgb.png": save(rgb, "PNG"),
        "rgba.png": save(rgba, "PNG"),
        "grey-alpha.png": save(rgba, "PNG", "LA"),
        "bit.png": save(rgb, "PNG", "1"),
        "palette.png": save(palette, "PNG", transparency=3),
        "deep.png": cv2_png(deep),
        "deep-grey.png": cv2_png(deep[..., 0]),
        "rgb.tif": save(rgb, "TIFF"),
        "lzw.tif": save(rgb, "TIFF", compression="tiff_lzw"),
        "deflate.tif": save(rgba, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg.tif": save(rgb, "TIFF", compression="jpeg"),
        "fax.tif": save(rgb, "TIFF", "1", compression="group4"),
        "deep.tif": tiff(deep, photometric="rgb"),
        "deep-grey.tif": tiff(deep[..., 0], byteorder=">"),
        "big-tiled.tif": tiff(rgb, photometric="rgb", bigtiff=True, tile=(16, 16)),
        "pages.tif": save(frames[0], "TIFF", **more),
        "rgb.bmp": save(rgb, "BMP"),
        "palette.bmp": save(palette, "BMP"),
        "lossy.webp": save(rgb, "WEBP"),
        "lossless.webp": save(rgba, "WEBP", lossless=True),
        "animated.webp": save(frames[0], "WEBP", **more),
        "palette.gif": save(palette, "GIF", transparency=3),
        "animated.gif": save(frames[0], "GIF", **more),
    }
