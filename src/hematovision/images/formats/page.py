"""One page of a TIFF: its fields, and whether its kind of pixels can be shown faithfully."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hematovision.images.formats import directory as tags
from hematovision.images.formats.picture import Source
from hematovision.images.libtiff import can_decode

__all__ = ["Page", "check_kind"]

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION = 256, 257, 258, 259, 262, 274
STRIPS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANES = 273, 277, 278, 279, 284
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT, PREDICTOR = 338, 339, 317
_SUBFILE, _OLD_SUBFILE = 254, 255

RAW, JPEG = 1, 7
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
ASSOCIATED_ALPHA, ALPHA = 1, 2
SEPARATE = 2

_COLOURS: Final = {
    WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, _CMYK: 4, _YCBCR: 3
}  # fmt: skip
# Those that every Pillow decodes: no other is worth a try, and a try would print a line.
_READABLE: Final = frozenset({RAW, 2, 3, 4, 5, JPEG, 8, 32773, 32946, 50000})
_COMPRESSIONS: Final = {
    RAW: "none", 2: "CCITT RLE", 3: "CCITT Fax 3", 4: "CCITT Fax 4", 5: "LZW",
    6: "old-style JPEG", JPEG: "JPEG", 8: "Deflate", 9: "JBIG", 10: "JBIG", 32766: "NeXT RLE",
    32771: "CCITT RLE", 32773: "PackBits", 32809: "ThunderScan", 32908: "PixarFilm",
    32909: "PixarLog", 32946: "Deflate", 33003: "JPEG 2000", 33004: "JPEG 2000",
    33005: "JPEG 2000", 33007: "JPEG", 34661: "JBIG", 34676: "SGI LogLuv", 34677: "SGI LogLuv",
    34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG", 34925: "LZMA", 34926: "Zstandard",
    34927: "WebP", 34933: "PNG", 34934: "JPEG XR", 48124: "Jetraw", 50000: "Zstandard",
    50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_UNSIGNED, _UNDEFINED = 1, 4
_FEW: Final = 64  # values of a field of which an image has one for each sample


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a TIFF, its fields still where they lie in the file.

    Parameters
    ----------
    source : Source
    layout : directory.Layout
    fields : directory.Directory
    is_rgb : bool
        Whether metadata say that the three samples, which it calls grey, are red, green and blue.
    """

    source: Source
    layout: tags.Layout
    fields: tags.Directory
    is_rgb: bool = False

    def all(self, tag: int, default: tuple[int, ...] = (), most: int = _FEW) -> tuple[int, ...]:
        """Read all values of a field of whole numbers.

        Raises
        ------
        TruncatedImageError
            If there are more than `most`, if they are no whole numbers, or if the page has the
            field twice.
        """
        entry = self.entry(tag)
        if entry is None:
            return default
        if entry.count > most:
            raise self.source.damaged(
                f"the TIFF's field {tag} has {entry.count:,} values, more than {most:,}"
            )
        return tags.numbers(self.source, self.layout, entry)

    def one(self, tag: int, default: int | None = None) -> int:
        """Read a field of one whole number; raises as `all` does, and if there is not one."""
        values = self.all(tag, () if default is None else (default,))
        if len(values) != 1:
            raise self.source.damaged(f"the TIFF's field {tag} has {len(values)} values, not one")
        return values[0]

    def entry(self, tag: int) -> tags.Entry | None:
        """Find the one entry of a field; raises `TruncatedImageError` if there are several."""
        entries = self.fields.get(tag, ())
        if len(entries) > 1:
            raise self.source.damaged(f"the TIFF gives a field twice ({tag})")
        return entries[0] if entries else None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height; 0 where the page does not say."""
        return self.one(WIDTH, 0), self.one(HEIGHT, 0)

    @property
    def is_reduced(self) -> bool:
        """Whether it says that it is a smaller copy of another page, or a mask of one."""
        flags = self.all(_SUBFILE, (0,))[0]
        return bool(flags & 0b101) or self.all(_OLD_SUBFILE, (1,))[0] == 2

    @property
    def is_grey(self) -> bool:
        """Whether it has no colours of its own; a palette may be how a channel is shown."""
        return self.all(PHOTOMETRIC, (BLACK_IS_ZERO,))[0] in (WHITE_IS_ZERO, BLACK_IS_ZERO)

    @property
    def photometric(self) -> int:
        """How samples are to be understood (field PhotometricInterpretation)."""
        return RGB if self.is_rgb else self.one(PHOTOMETRIC)

    @property
    def extra(self) -> tuple[int, ...]:
        """What the samples are that are no colours (field ExtraSamples)."""
        return () if self.is_rgb else self.all(EXTRA_SAMPLES)

    @property
    def is_planar(self) -> bool:
        """Whether each of several samples lies by itself."""
        return self.one(PLANES, 1) == SEPARATE and self.one(SAMPLES, 1) > 1


def check_kind(page: Page) -> tuple[int, ...]:
    """Refuse what cannot be shown faithfully; return the bits of every sample.

    Raises
    ------
    NotAnImageError
    """
    _check_compression(page)
    photometric = page.photometric
    colours = _COLOURS.get(photometric, 0)
    samples = page.one(SAMPLES, 1)
    bits = page.all(BITS, (1,))
    bits = bits * samples if len(bits) == 1 and samples <= 8 else bits
    if bits[0] > 16 or not set(page.all(SAMPLE_FORMAT)) <= {_UNSIGNED, _UNDEFINED}:
        raise page.source.unsupported(
            f"it is a TIFF of {bits[0]}-bit samples that do not say what is black and what is "
            "white (signed, floating-point, or more than 16 bits)",
            "Choose the range in the program that made it and save 8 or 16 bits, unsigned.",
        )
    # Four samples of RGB without a word about the fourth: it is alpha.
    extra = len(page.extra) or int(photometric == RGB and samples == 4)
    if colours == 1 and samples > 2:  # decoders would show the first one and drop the others
        raise page.source.unsupported(
            f"it is a TIFF of {samples} grey samples per pixel, and nothing in it says that they "
            "are red, green and blue",
            "Save it as RGB.",
        )
    readable = (
        len(bits) == samples == colours + extra
        and set(bits) in ({1}, {2}, {4}, {8}, {16})
        and not (bits[0] == 16 and photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB))
    )
    if not readable:
        raise page.source.unsupported(
            f"it is a TIFF of an uncommon kind (photometric {photometric}, {samples} samples of "
            f"bits {bits[:8]})"
        )
    return bits


def _check_compression(page: Page) -> None:
    compression = page.one(COMPRESSION, RAW)
    if compression not in _READABLE or not can_decode(compression):
        name = _COMPRESSIONS.get(compression, "an unknown method")
        raise page.source.unsupported(
            f"it is a TIFF compressed with {name} (number {compression}), which cannot be read",
            "Save it as PNG, or as TIFF with LZW or Deflate compression.",
        )
