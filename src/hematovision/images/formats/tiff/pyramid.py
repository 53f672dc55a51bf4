"""Large TIFFs: the levels of a pyramid, and their strips or tiles as images of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hematovision.errors import ImageError
from hematovision.images.formats import jpeg, tiff
from hematovision.images.formats.source import MAX_SIDE, EncodedImage, Source
from hematovision.images.formats.tiff import tags
from hematovision.images.formats.tiff.tags import Entry, Field, Page

__all__ = ["MAX_BLOCK_PIXELS", "Level", "read_levels"]

MAX_BLOCK_PIXELS: Final = 2**24
"""The largest strip or tile: 50 MB once decoded. Common tiles have 65,536 pixels."""

_SUB_DIRECTORIES, _JPEG_TABLES = 330, 347
_MAX_SUB_DIRECTORIES: Final = 64
_COPIED: Final = (
    tags.COMPRESSION, tags.PREDICTOR, 266, 292, 293, 320, _JPEG_TABLES, 529, 530, 532,
)  # fmt: skip
_SPARE_BYTES: Final = 2**20
_HEADER = bytes(8)  # of a classic TIFF
_START, _END = b"\xff\xd8", b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class Level:
    """One page of a pyramid, whose strips or tiles are read separately."""

    page: Page
    width: int  # in pixels
    height: int
    across: int  # width of a strip or tile in pixels
    down: int  # its height; the last strip may be lower
    bits: tuple[int, ...]  # of each sample
    tiled: bool
    offsets: Entry
    lengths: Entry | None  # None: uncompressed rows without a gap, cut into strips by us
    shared: Mapping[int, Field]  # the fields that every strip or tile needs

    @property
    def columns(self) -> int:
        """The number of tiles from left to right; 1 for strips."""
        return -(-self.width // self.across)

    @property
    def rows(self) -> int:
        """The number of strips or tiles from top to bottom."""
        return -(-self.height // self.down)

    @property
    def planes(self) -> int:
        """The number of separate planes: 1, or one per sample."""
        return len(self.bits) if self.page.is_planar else 1

    def block(self, column: int, row: int) -> EncodedImage | None:
        """Return one strip or tile as an image; None if it is missing, as in sparse files.

        Raises `ImageError` if it is damaged or truncated.
        """
        places = [self._place(column, row, plane) for plane in range(self.planes)]
        if not all(length for _, length in places):
            return None
        parts = [self.page.source.take(*place) for place in places]
        height = self.down if self.tiled else min(self.down, self.height - row * self.down)
        encoded = self._jpeg(parts) or self._tiff(parts, height)
        if encoded.width < self.across or encoded.height < height:
            raise self.page.source.damaged(
                f"the TIFF has a tile of {encoded.width} x {encoded.height} pixels where "
                f"{self.across} x {height} are needed"
            )
        return encoded

    def _place(self, column: int, row: int, plane: int) -> tuple[int, int]:
        """Return the offset and length of a strip or tile in bytes."""
        if self.lengths is None:
            row_bytes = self.width * len(self.bits)
            height = min(self.down, self.height - row * self.down)
            return self._number(self.offsets, 0) + row * self.down * row_bytes, height * row_bytes
        index = (plane * self.rows + row) * self.columns + column
        offset, length = self._number(self.offsets, index), self._number(self.lengths, index)
        most = 2 * self.across * self.down * len(self.bits) + _SPARE_BYTES
        if length > most:
            raise self.page.source.damaged(
                f"a strip or tile of the TIFF has {length:,} bytes; at most {most:,} are needed"
            )
        return (offset, length) if offset else (0, 0)

    def _number(self, entry: Entry, index: int) -> int:
        """Read one number of a field; a slide has too many to read all."""
        size = tags.bytes_each(entry)
        one = Entry(entry.kind, 1, entry.place + index * size)
        return tags.numbers(self.page.source, self.page.layout, one)[0]

    def _jpeg(self, parts: Sequence[bytes]) -> EncodedImage | None:
        """Describe a JPEG, with the shared tables; None for other compressions.

        libtiff, which decodes the rest, fills the missing part of a JPEG with grey.
        """
        is_ybr = self.page.photometric == tags.YCBCR
        wanted = (tags.RGB, tags.YCBCR, tags.BLACK_IS_ZERO)
        compression = self.page.one(tags.COMPRESSION, tags.RAW)
        if compression != tags.JPEG or len(parts) > 1 or self.page.photometric not in wanted:
            return None
        (content,) = parts
        if not content.startswith(_START):
            raise self.page.source.damaged("the TIFF has a strip or tile that is not a JPEG")
        if self.page.photometric == tags.RGB and b"JFIF\0" in content[:64]:  # taken for YCbCr
            return None
        if len(self.bits) > 1:
            content = jpeg.with_colours(content, ybr=is_ybr)
        if _JPEG_TABLES in self.shared:
            tables = self.shared[_JPEG_TABLES].values
            content = tables[: tables.rfind(_END)] + content[len(_START) :]
        return jpeg.inspect(self._source(content))

    def _tiff(self, parts: Sequence[bytes], height: int) -> EncodedImage:
        """Describe a strip or tile as a TIFF that holds nothing else."""
        layout, photometric = self.page.layout, self.page.photometric
        places = [len(_HEADER) + sum(map(len, parts[:index])) for index in range(len(parts))]
        directory = {
            **self.shared,
            tags.WIDTH: tags.longs(layout, (self.across,)),
            tags.HEIGHT: tags.longs(layout, (height,)),
            tags.ROWS_PER_STRIP: tags.longs(layout, (height,)),
            tags.BITS: tags.shorts(layout, *self.bits),
            tags.SAMPLES: tags.shorts(layout, len(self.bits)),
            tags.PHOTOMETRIC: tags.shorts(layout, photometric),
            tags.PLANES: tags.shorts(layout, tags.SEPARATE if len(parts) > 1 else 1),
            tags.STRIPS: tags.longs(layout, places),
            tags.STRIP_BYTES: tags.longs(layout, [len(part) for part in parts]),
        }
        if self.page.extra:
            directory[tags.EXTRA_SAMPLES] = tags.shorts(layout, *self.page.extra)
        content = self._source(b"".join((_HEADER, *parts)))
        whole = tags.append_directories(content, layout, [directory])
        return tiff.inspect(self._source(whole))

    def _source(self, content: bytes) -> Source:
        return Source(content, self.page.source.name, MAX_BLOCK_PIXELS, max_aspect=MAX_SIDE)


def read_levels(source: Source) -> list[Level]:
    """Read the levels of a TIFF, largest first: its image, and the smaller copies of it.

    Copies are pages or sub-directories (field 330) of the same shape. Those that cannot be read are
    left out.

    Raises
    ------
    NotAnImageError
        If the TIFF is not one image of 8-bit greys, colours or a palette, or its strips or tiles
        exceed `MAX_BLOCK_PIXELS`.
    TruncatedImageError
        If its directories are damaged.
    """
    layout = tags.read_layout(source)
    pages = [Page(source, layout, d) for d in tags.read_directories(source, layout)]
    if not pages:
        raise source.damaged("the TIFF has no page")
    chosen = tiff.choose_image(pages)
    if len(chosen) > 1:
        raise source.unsupported(
            "it is a large TIFF whose colours are separate pages", "Save it as RGB."
        )
    first = _level(chosen[0])
    others = [page for page in pages if page is not chosen[0]]
    copies = [*_sub_pages(chosen[0]), *others]
    smaller = [level for page in copies if (level := _copy(page, first))]
    return [first, *sorted(smaller, key=lambda level: -level.width)]


def _sub_pages(page: Page) -> Iterator[Page]:
    entry = page.entry(_SUB_DIRECTORIES)
    if entry is None:
        return
    if entry.count > _MAX_SUB_DIRECTORIES:
        raise page.source.unsupported(
            f"it is a TIFF of {entry.count:,} sub-directories; the limit is {_MAX_SUB_DIRECTORIES}"
        )
    for offset in tags.numbers(page.source, page.layout, entry):
        for directory in tags.read_directories(page.source, page.layout, offset):
            yield Page(page.source, page.layout, directory)
            break  # a sub-directory is one page


def _copy(page: Page, first: Level) -> Level | None:
    """Return the level of a page that is a smaller copy of the first, if it can be read."""
    try:
        width, height = page.size
        is_same = abs(width * first.height - height * first.width) <= first.width + first.height
        if not (0 < width < first.width and 0 < height < first.height and is_same):
            return None
        return _level(page)
    except ImageError:
        return None


def _level(page: Page) -> Level:
    """Describe a page; its strips or tiles are checked when they are read."""
    bits = tags.check_kind(page)
    if set(bits) != {8}:
        raise page.source.unsupported(
            f"it is a large TIFF of {bits[0]}-bit samples", "Save it with 8-bit samples."
        )
    width, height = page.size
    if min(width, height) < 1:
        raise page.source.damaged(f"it declares {width} x {height} pixels")
    tiled = page.is_tiled
    across = page.one(tags.TILE_WIDTH) if tiled else width
    down = page.one(tags.TILE_HEIGHT) if tiled else page.one(tags.ROWS_PER_STRIP, height)
    down = down if tiled else min(down or height, height)
    if not (across and down):
        raise page.source.damaged("the TIFF declares tiles of impossible size")
    entries = [page.entry(a) or page.entry(b) for a, b in (_OFFSETS, _LENGTHS)]
    offsets, lengths = entries
    planes = len(bits) if page.is_planar else 1
    number = planes * -(-width // across) * -(-height // down)
    if offsets is None or offsets.count < number or (lengths and lengths.count < number):
        raise page.source.damaged(f"the TIFF lacks some of its {number:,} strips or tiles")
    shared = {
        tag: tags.field(page.source, page.layout, entry)
        for tag in _COPIED
        if (entry := page.entry(tag)) is not None
    }
    if number == 1 and not tiled and page.one(tags.COMPRESSION, tags.RAW) == tags.RAW:
        down, lengths = min(height, max(1, 2**22 // width)), None
    elif lengths is None:
        raise page.source.damaged("the TIFF lacks the lengths of its strips or tiles")
    if across * down > MAX_BLOCK_PIXELS:
        raise page.source.unsupported(
            f"it is a large TIFF in strips or tiles of {across:,} x {down:,} pixels; at most "
            f"{MAX_BLOCK_PIXELS:,} pixels each can be read",
            "Save it in tiles, for instance of 512 x 512 pixels.",
        )
    return Level(page, width, height, across, down, bits, tiled, offsets, lengths, shared)


_OFFSETS: Final = (tags.TILES, tags.STRIPS)
_LENGTHS: Final = (tags.TILE_BYTES, tags.STRIP_BYTES)
