"""TIFF: which page or pages are the picture, what range they have, and whether they are whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

from hematovision.errors import NotAnImageError
from hematovision.images.formats import directory as tags
from hematovision.images.formats import page as kind
from hematovision.images.formats.blocks import Blocks, check_places, read_blocks
from hematovision.images.formats.imagej import read_imagej
from hematovision.images.formats.jpeg_blocks import read_jpegs
from hematovision.images.formats.ome import read_ome
from hematovision.images.formats.page import Page, check_kind
from hematovision.images.formats.picture import Picture, Source
from hematovision.images.formats.stack import Stack, colour_order, read_shaped

__all__ = ["inspect"]

_DESCRIPTION, _IMAGEJ_LENGTHS, _IMAGEJ, _METAMORPH = 270, 50838, 50839, 33629
_MAX_DESCRIPTIONS, _MAX_TEXT, _MAX_PARTS = 3, 2**22, 2**14
_INLINE = 8  # bytes that may stand in an entry itself, where no text of use fits
_MAX_SAMPLE_VALUE, _S_MAX_SAMPLE_VALUE = 281, 341

# All that decoding needs besides what is written anew: fill order, fax options, predictor, colour
# map, JPEG tables and YCbCr. Nothing else reaches the decoder; we apply the orientation ourselves.
_NEEDED: Final = (
    kind.WIDTH, kind.HEIGHT, kind.COMPRESSION, kind.PREDICTOR, 266, 292, 293, 320, 347, 529, 530,
    532,
)  # fmt: skip
_SINGLE: Final = (
    kind.WIDTH, kind.HEIGHT, kind.COMPRESSION, kind.PHOTOMETRIC, kind.SAMPLES, kind.PLANES,
    kind.ROWS_PER_STRIP, kind.TILE_WIDTH, kind.TILE_HEIGHT, kind.ORIENTATION, 266, kind.PREDICTOR,
)  # fmt: skip
_ALPHAS: Final = ((), (kind.ALPHA,), (kind.ASSOCIATED_ALPHA,))


def inspect(source: Source) -> Picture:
    """Find the picture in a TIFF, check that every page is whole, and describe it."""
    layout = tags.read_layout(source)
    pages = [Page(source, layout, d) for d in tags.read_directories(source, layout)]
    if not pages:
        raise source.damaged("the TIFF has no page")
    check_places(pages)
    stack = _read_stack(pages[0])
    chosen = _choose(pages, stack)
    for page in chosen:
        for tag in _SINGLE:
            page.one(tag, 0)
    if len(chosen) > 1:
        return _joined(chosen, stack)
    return _single(chosen[0], stack)


def _read_stack(page: Page) -> Stack:
    """Read what the first page's metadata say; OME-XML counts more than other descriptions."""
    planes = page.fields.get(_METAMORPH, ())
    if planes and planes[0].count > 1:
        return Stack("MetaMorph's metadata", slices=planes[0].count, total=planes[0].count)
    samples = (*page.all(kind.SAMPLES), 1)[0]
    entries = page.fields.get(_DESCRIPTION, ())[:_MAX_DESCRIPTIONS]
    texts = [page.source.take(e.place, e.count) for e in entries if _INLINE < e.count <= _MAX_TEXT]
    parts = _imagej_parts(page)
    found = chain(
        (read_ome(text, samples) for text in texts),
        (read_imagej(text, *parts) for text in texts),
        (read_shaped(text, samples) for text in texts),
    )
    return next((stack for stack in found if stack is not None), Stack())


def _imagej_parts(page: Page) -> tuple[bytes, tuple[int, ...]]:
    """Return ImageJ's block of labels and lookup tables, and the lengths of its parts."""
    blocks, lengths = page.fields.get(_IMAGEJ, ()), page.fields.get(_IMAGEJ_LENGTHS, ())
    is_there = len(blocks) == len(lengths) == 1 and blocks[0].count > _INLINE
    if not is_there or lengths[0].kind != tags.LONG or not 0 < lengths[0].count <= _MAX_PARTS:
        return b"", ()
    content = page.source.take(blocks[0].place, min(blocks[0].count, _MAX_TEXT))
    return content, page.all(_IMAGEJ_LENGTHS, most=_MAX_PARTS)


def _choose(pages: Sequence[Page], stack: Stack) -> Sequence[Page]:
    """Choose the page that is the picture, or three that are its red, green and blue.

    Pages that say that they are a smaller copy or a mask, or that look like a smaller copy, are
    left out. Of several in colour the first is taken. Several in grey are no picture, unless the
    metadata say that they are the channels of one; slices and time points never are.
    """
    full = [page for page in pages if not page.is_reduced] or [pages[0]]
    first = full[0]
    same = [page for page in full if not _is_copy(page, first)]
    number = max(len(same), stack.total)
    is_single = first.all(kind.SAMPLES, (1,)) == (1,)
    if number > 1 and stack.slices * stack.frames > 1:
        raise _refused(first, number, stack)
    if stack.channels == 3 and is_single and (number > 1 or first.is_grey):
        return _channels(pages if stack.pages else same, stack)
    is_several = number > 1 and (first.is_grey or stack.channels > 1)
    is_part = stack.total > len(same) or (first.is_grey and is_single and stack.channels > 1)
    if is_several or is_part:
        raise _refused(first, number, stack)
    return [first]


def _is_copy(page: Page, first: Page) -> bool:
    """Tell whether a page has the shape of the first one made smaller, or has no pixels at all."""
    (width, height), (full_width, full_height) = page.size, first.size
    if not width * height:
        return page is not first
    is_smaller = width < full_width and height < full_height
    return is_smaller and abs(width * full_height - height * full_width) <= full_width + full_height


def _channels(pages: Sequence[Page], stack: Stack) -> Sequence[Page]:
    """Return the pages of the three channels, red first."""
    source = pages[0].source
    places = stack.pages or (0, 1, 2)
    here = [place for place in places if 0 <= place < len(pages)]
    if len(here) < len(places):
        raise source.unsupported(
            f"it is a TIFF with {len(here)} of the 3 channels that {stack.origin} declares",
            "Save the channels merged to RGB as one file.",
        )
    order = colour_order(stack)
    if order is None:
        names = ", ".join(stack.names) or "not red, green and blue"
        raise source.unsupported(
            f"it is a TIFF of 3 channels, and {stack.origin} does not tell which is red, green "
            f"and blue (it calls or shows them: {names})",
            "Merge the channels to RGB in the program that made it.",
        )
    return [pages[here[index]] for index in order]


def _refused(page: Page, number: int, stack: Stack) -> NotAnImageError:
    """Make the error for several pages that are no picture."""
    width, height = page.size
    look = ("grey " if page.is_grey else "") + ("page" if number == 1 else "pages")
    sizes = {"channels": stack.channels, "slices": stack.slices, "time points": stack.frames}
    found = ", ".join(f"{size} {name}" for name, size in sizes.items() if size > 1)
    declares = (
        f"{stack.origin} declares {found or f'{stack.total} images'}"
        if found or stack.total > 1
        else "nothing in it says that they are the channels of one image"
    )
    return page.source.unsupported(
        f"it is a TIFF of {number} {look}, the first of {width} x {height} pixels, and {declares}",
        "Expected one image: save the slice or time point that shows the cell, with its "
        "channels merged to RGB.",
    )


def _single(page: Page, stack: Stack) -> Picture:
    """Describe a picture that is one page."""
    if page.is_grey and stack.samples == 3 and page.all(kind.SAMPLES) == (3,):
        page = replace(page, is_rgb=True)
    bits = check_kind(page)
    blocks = read_blocks(page, bits)
    deep, extra = bits[0] == 16, page.extra[:1]
    colours = 3 if page.photometric == kind.RGB else 1
    parts = [(page, blocks)]
    if page.is_planar and (deep or colours == 3 < len(bits)):  # Pillow does not know such planes
        has_alpha = len(bits) > colours and extra in _ALPHAS
        parts = [(page, blocks.plane(index)) for index in range(colours + has_alpha)]
    picture = _describe(parts, bits, stack)
    is_ours = deep or len(parts) > 1  # Pillow divides by alpha itself
    return replace(picture, associated=is_ours and extra == (kind.ASSOCIATED_ALPHA,))


def _joined(pages: Sequence[Page], stack: Stack) -> Picture:
    """Describe a picture whose red, green and blue are pages of their own."""
    kinds = [(check_kind(page), page.size, page.photometric) for page in pages]
    if kinds != [kinds[0]] * 3 or len(kinds[0][0]) > 1:
        raise pages[0].source.unsupported(
            "it is a TIFF whose channels are pages of different kinds or sizes",
            "Save the channels merged to RGB as one file.",
        )
    bits = kinds[0][0]
    return _describe([(page, read_blocks(page, bits)) for page in pages], bits, stack)


def _describe(parts: Sequence[tuple[Page, Blocks]], bits: tuple[int, ...], stack: Stack) -> Picture:
    page = parts[0][0]
    orientation = page.one(kind.ORIENTATION, 1)
    deep = bits[0] == 16
    directories = [
        _fields(page, blocks, bits, is_plane=len(parts) > 1, deep=deep) for page, blocks in parts
    ]
    return Picture(
        format="TIFF",
        width=page.one(kind.WIDTH),
        height=page.one(kind.HEIGHT),
        data=tags.append_directories(page.source, page.layout, directories),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        bits=bits[0],
        inverted=deep and page.photometric == kind.WHITE_IS_ZERO,
        planes=len(parts),
        parts=tuple(chain.from_iterable(read_jpegs(page, blocks) for page, blocks in parts)),
        white=max(_white(page, stack) for page, _ in parts) if deep else 0,
    )


def _white(page: Page, stack: Stack) -> int:
    """Return the largest value that a sample of 16 bits can have, 0 if that is not declared.

    OME's SignificantBits and ImageJ's range count first. The fields MaxSampleValue and
    SMaxSampleValue are meant as statistics, but are the only way to declare a range in plain TIFF.
    """
    if stack.white:
        return stack.white
    for tag in (_S_MAX_SAMPLE_VALUE, _MAX_SAMPLE_VALUE):
        entries = page.fields.get(tag, ())
        if (
            len(entries) == 1
            and entries[0].kind in (tags.SHORT, tags.LONG)
            and 0 < entries[0].count <= 8
        ):
            value = max(page.all(tag))
            return value if 0 < value <= 65_535 else 0
    return 0


def _fields(
    page: Page, blocks: Blocks, bits: tuple[int, ...], *, is_plane: bool, deep: bool
) -> dict[int, tags.Field]:
    """Keep what the decoder needs; planes and 16 bits as plain as can be, for our own rules."""
    layout = page.layout
    entries = {tag: entry for tag in _NEEDED if (entry := page.entry(tag)) is not None}
    fields = {tag: tags.field(page.source, layout, entry) for tag, entry in entries.items()}
    photometric, extra = page.photometric, page.extra
    if deep and photometric == kind.WHITE_IS_ZERO:
        photometric = kind.BLACK_IS_ZERO
    if is_plane:
        photometric = min(photometric, kind.BLACK_IS_ZERO)
        bits, extra = bits[:1], ()
    if deep and extra == (kind.ASSOCIATED_ALPHA,):
        extra = (kind.ALPHA,)
    if extra:
        fields[kind.EXTRA_SAMPLES] = tags.shorts(layout, *extra)
    fields[kind.PHOTOMETRIC] = tags.shorts(layout, photometric)
    fields[kind.BITS] = tags.shorts(layout, *bits)
    fields[kind.SAMPLES] = tags.shorts(layout, len(bits))
    fields[kind.PLANES] = tags.shorts(layout, kind.SEPARATE if blocks.planes > 1 else 1)
    return fields | _block_fields(layout, blocks)


def _block_fields(layout: tags.Layout, blocks: Blocks) -> dict[int, tags.Field]:
    offsets, lengths = tags.longs(layout, blocks.offsets), tags.longs(layout, blocks.lengths)
    if blocks.tiled:
        return {
            kind.TILE_WIDTH: tags.longs(layout, (blocks.across,)),
            kind.TILE_HEIGHT: tags.longs(layout, (blocks.down,)),
            kind.TILES: offsets,
            kind.TILE_BYTES: lengths,
        }
    return {
        kind.ROWS_PER_STRIP: tags.longs(layout, (blocks.down,)),
        kind.STRIPS: offsets,
        kind.STRIP_BYTES: lengths,
    }
