"""TIFF: which variants can be shown faithfully, and whether strips and tiles are all there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hematovision.images.formats import directory as tags
from hematovision.images.formats.picture import Picture, Source

__all__ = ["inspect"]

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION = 256, 257, 258, 259, 262, 274
_STRIPS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES, _PLANES = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 322, 323, 324, 325
_EXTRA_SAMPLES, _SAMPLE_FORMAT = 338, 339

# All that decoding needs: the above, fill order, fax options, predictor, colour map, JPEG tables
# and YCbCr. Nothing else reaches the decoder; the orientation is applied by ourselves.
_NEEDED: Final = frozenset(
    {_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIPS, _SAMPLES, _ROWS_PER_STRIP}
    | {_STRIP_BYTES, _PLANES, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _EXTRA_SAMPLES}
    | {_SAMPLE_FORMAT, 266, 292, 293, 317, 320, 347, 529, 530, 532}
)
_SINGLE: Final = frozenset({_WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANES}) | {
    _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT, _ORIENTATION, 266, 317
}  # fmt: skip

_RAW, _JPEG = 1, 7
# None, CCITT, LZW, JPEG, Deflate (both numbers), PackBits, Zstandard, WebP; not old-style JPEG.
_COMPRESSIONS: Final = frozenset({_RAW, 2, 3, 4, 5, _JPEG, 8, 32773, 32946, 50000, 50001})
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _YCBCR = 0, 1, 2, 6
_PHOTOMETRICS: Final = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, 3: 1, 5: 4, _YCBCR: 3}
_ASSOCIATED_ALPHA, _ALPHA = 1, 2
_SEPARATE = 2
_UNSIGNED, _UNDEFINED = 1, 4
_MAX_TILE_PIXELS: Final = 2**24  # a tile may be larger than the picture, but not by any amount


@dataclass(frozen=True, slots=True)
class _Page:
    source: Source
    layout: tags.Layout
    fields: tags.Directory

    def all(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        entry = self.fields.get(tag)
        return tags.numbers(self.source, self.layout, entry) if entry else default

    def one(self, tag: int, default: int | None = None) -> int:
        values = self.all(tag, () if default is None else (default,))
        if len(values) != 1:
            raise self.source.damaged(f"the TIFF's field {tag} has {len(values)} values, not one")
        return values[0]


def inspect(source: Source) -> Picture:
    """Check that every page of a TIFF is whole, and describe the first one."""
    layout = tags.read_layout(source)
    pages = [_Page(source, layout, d) for d in tags.read_directories(source, layout)]
    if not pages:
        raise source.damaged("the TIFF has no page")
    for page in pages:
        _check_places(page)
    page = pages[0]
    for tag in _SINGLE & page.fields.keys():
        page.one(tag)
    bits = _check_kind(page)
    _check_extent(page, bits)
    orientation = page.one(_ORIENTATION, 1)
    deep = bits[0] == 16
    return Picture(
        format="TIFF",
        width=page.one(_WIDTH),
        height=page.one(_HEIGHT),
        data=tags.append_directory(source, layout, _plain_fields(page, deep=deep)),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        bits=bits[0],
        inverted=deep and page.one(_PHOTOMETRIC) == _WHITE_IS_ZERO,
        associated=deep and page.all(_EXTRA_SAMPLES)[:1] == (_ASSOCIATED_ALPHA,),
    )


def _check_places(page: _Page) -> None:
    """Check that every strip and tile of a page lies inside the file."""
    for where, how_many in ((_STRIPS, _STRIP_BYTES), (_TILES, _TILE_BYTES)):
        offsets, lengths = page.all(where), page.all(how_many)
        if len(offsets) != len(lengths):
            raise page.source.damaged(
                f"the TIFF gives {len(offsets)} places of pixels, but {len(lengths)} lengths"
            )
        ends = (offset + length for offset, length in zip(offsets, lengths, strict=True))
        page.source.require(0, max(ends, default=0))


def _check_kind(page: _Page) -> tuple[int, ...]:
    """Refuse what cannot be shown faithfully; return the bits of every sample."""
    compression, photometric = page.one(_COMPRESSION, _RAW), page.one(_PHOTOMETRIC)
    colours = _PHOTOMETRICS.get(photometric, 0)
    samples = page.one(_SAMPLES, 1)
    bits = page.all(_BITS, (1,))
    bits = bits * samples if len(bits) == 1 and samples <= 8 else bits
    if bits[0] > 16 or not set(page.all(_SAMPLE_FORMAT)) <= {_UNSIGNED, _UNDEFINED}:
        raise page.source.unsupported(
            f"it is a TIFF of {bits[0]}-bit samples that do not say what is black and what is "
            "white (signed, floating-point, or more than 16 bits)",
            "Choose the range in the program that made it and save 8 or 16 bits, unsigned.",
        )
    # Four samples of RGB without a word about the fourth: it is alpha.
    extra = len(page.all(_EXTRA_SAMPLES)) or int(photometric == _RGB and samples == 4)
    planar = page.one(_PLANES, 1) == _SEPARATE
    readable = (
        compression in _COMPRESSIONS
        and len(bits) == samples == colours + extra
        and set(bits) in ({1}, {2}, {4}, {8}, {16})
        and not (bits[0] == 16 and (planar or colours == 4))
    )
    if not readable:
        raise page.source.unsupported(
            f"it is a TIFF of an uncommon kind (compression {compression}, photometric "
            f"{photometric}, bits {bits[:8]})"
        )
    return bits


def _check_extent(page: _Page, bits: tuple[int, ...]) -> None:
    """Check that strips or tiles are as many, and uncompressed as long, as the picture needs."""
    width, height = page.one(_WIDTH), page.one(_HEIGHT)
    tiled = _TILES in page.fields
    across = page.one(_TILE_WIDTH) if tiled else width
    down = page.one(_TILE_HEIGHT) if tiled else min(page.one(_ROWS_PER_STRIP, height), height)
    if not (width and height and across and down) or across * down > max(
        width * height, _MAX_TILE_PIXELS
    ):
        raise page.source.damaged("the TIFF declares a picture or tile of impossible size")
    planes = page.one(_SAMPLES, 1) if page.one(_PLANES, 1) == _SEPARATE else 1
    needed = -(-width // across) * -(-height // down) * planes
    lengths = page.all(_TILE_BYTES if tiled else _STRIP_BYTES)
    row_bits = across * sum(bits) // planes
    rows = down * needed if tiled else height * planes
    needed_bytes = -(-row_bits // 8) * rows if page.one(_COMPRESSION, _RAW) == _RAW else 0
    if len(lengths) < needed or sum(lengths) < needed_bytes:
        raise page.source.damaged(
            f"the TIFF holds {len(lengths)} strips or tiles of {sum(lengths)} bytes; its size "
            f"needs {needed} of at least {needed_bytes} bytes"
        )


def _plain_fields(page: _Page, *, deep: bool) -> tags.Directory:
    """Keep what the decoder needs; 16-bit pictures as plain as can be, for our own scaling."""
    fields = {tag: entry for tag, entry in page.fields.items() if tag in _NEEDED}
    if deep and page.one(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        fields[_PHOTOMETRIC] = tags.with_short(fields[_PHOTOMETRIC], page.layout, _BLACK_IS_ZERO)
    if deep and page.all(_EXTRA_SAMPLES) == (_ASSOCIATED_ALPHA,):
        fields[_EXTRA_SAMPLES] = tags.with_short(fields[_EXTRA_SAMPLES], page.layout, _ALPHA)
    return fields
