"""TIFF: finds the page or pages of the image and their range, and checks that they are complete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

from hematovision.errors import NotAnImageError
from hematovision.images.formats.source import EncodedImage, Source
from hematovision.images.formats.tiff import tags
from hematovision.images.formats.tiff.blocks import Blocks, check_places, read_blocks, read_jpegs
from hematovision.images.formats.tiff.stacks import (
    Stack,
    colour_order,
    read_imagej,
    read_ome,
    read_shaped,
)
from hematovision.images.formats.tiff.tags import Page, check_kind

__all__ = ["choose_image", "inspect"]

_DESCRIPTION, _IMAGEJ_LENGTHS, _IMAGEJ, _METAMORPH = 270, 50838, 50839, 33629
_MAX_DESCRIPTIONS, _MAX_TEXT, _MAX_PARTS = 3, 2**22, 2**14
_INLINE = 8  # bytes that fit in an entry itself, too few for useful text
_MAX_SAMPLE_VALUE, _S_MAX_SAMPLE_VALUE = 281, 341

# The fields copied for the decoder: fill order, fax options, predictor, colour map, JPEG tables and
# YCbCr. The rest are rewritten or left out; we apply the orientation ourselves.
_NEEDED: Final = (
    tags.WIDTH, tags.HEIGHT, tags.COMPRESSION, tags.PREDICTOR, 266, 292, 293, 320, 347, 529, 530,
    532,
)  # fmt: skip
_SINGLE: Final = (
    tags.WIDTH, tags.HEIGHT, tags.COMPRESSION, tags.PHOTOMETRIC, tags.SAMPLES, tags.PLANES,
    tags.ROWS_PER_STRIP, tags.TILE_WIDTH, tags.TILE_HEIGHT, tags.ORIENTATION, 266, tags.PREDICTOR,
)  # fmt: skip
_ALPHAS: Final = ((), (tags.ALPHA,), (tags.ASSOCIATED_ALPHA,))


def inspect(source: Source) -> EncodedImage:
    """Find the image in a TIFF, check that every page is complete, and describe it."""
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


def choose_image(pages: Sequence[Page]) -> Sequence[Page]:
    """Return the page that is the image, or the three that are its red, green and blue.

    Smaller copies, masks and further colour pages are ignored. Raises `NotAnImageError` for slices,
    time points and other stacks.
    """
    return _choose(pages, _read_stack(pages[0]))


def _read_stack(page: Page) -> Stack:
    """Read the metadata of the first page; OME-XML takes precedence over other descriptions."""
    planes = page.fields.get(_METAMORPH, ())
    if planes and planes[0].count > 1:
        return Stack("MetaMorph's metadata", slices=planes[0].count, total=planes[0].count)
    samples = (*page.all(tags.SAMPLES), 1)[0]
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
    """Return the page that is the image, or the three that are its red, green and blue.

    Smaller copies and masks are ignored. Of several colour pages, the first is chosen. Several grey
    pages are one image only if the metadata declares them to be its channels; slices and time
    points never are.
    """
    full = [page for page in pages if not page.is_reduced] or [pages[0]]
    first = full[0]
    same = [page for page in full if not _is_copy(page, first)]
    number = max(len(same), stack.total)
    is_single = first.all(tags.SAMPLES, (1,)) == (1,)
    if number > 1 and stack.slices * stack.frames > 1:
        raise _not_one_image(first, number, stack)
    if stack.channels == 3 and is_single and (number > 1 or first.is_grey):
        return _channels(pages if stack.pages else same, stack)
    is_several = number > 1 and (first.is_grey or stack.channels > 1)
    is_part = stack.total > len(same) or (first.is_grey and is_single and stack.channels > 1)
    if is_several or is_part:
        raise _not_one_image(first, number, stack)
    return [first]


def _is_copy(page: Page, first: Page) -> bool:
    """Return whether a page has the first page's shape scaled down, or no pixels."""
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
        names = ", ".join(filter(None, stack.names))
        raise source.unsupported(
            f"it is a TIFF of 3 channels{f' ({names})' * bool(names)}, and {stack.origin} does not "
            "show which are red, green and blue",
            "Merge the channels to RGB in the program that made it.",
        )
    return [pages[here[index]] for index in order]


def _not_one_image(page: Page, number: int, stack: Stack) -> NotAnImageError:
    """Return the error for several pages that are not one image."""
    width, height = page.size
    kind = ("grey " if page.is_grey else "") + ("page" if number == 1 else "pages")
    sizes = {"channels": stack.channels, "slices": stack.slices, "time points": stack.frames}
    found = ", ".join(f"{size} {name}" for name, size in sizes.items() if size > 1)
    declares = (
        f"{stack.origin} declares {found or f'{stack.total} images'}"
        if found or stack.total > 1
        else "it does not declare them to be the channels of one image"
    )
    return page.source.unsupported(
        f"it is a TIFF of {number} {kind}, the first of {width} x {height} pixels, and {declares}",
        "Expected one image: save the slice or time point that shows the cell, with its "
        "channels merged to RGB.",
    )


def _single(page: Page, stack: Stack) -> EncodedImage:
    """Describe an image that is one page."""
    if page.is_grey and stack.samples == 3 and page.all(tags.SAMPLES) == (3,):
        page = replace(page, is_rgb=True)
    bits = check_kind(page)
    blocks = read_blocks(page, bits)
    deep, extra = bits[0] == 16, page.extra[:1]
    colours = 3 if page.photometric == tags.RGB else 1
    parts = [(page, blocks)]
    if page.is_planar and (deep or colours == 3 < len(bits)):  # not supported by Pillow
        has_alpha = len(bits) > colours and extra in _ALPHAS
        parts = [(page, blocks.plane(index)) for index in range(colours + has_alpha)]
    encoded = _describe(parts, bits, stack)
    is_ours = deep or len(parts) > 1  # Pillow divides by alpha itself
    return replace(encoded, associated=is_ours and extra == (tags.ASSOCIATED_ALPHA,))


def _joined(pages: Sequence[Page], stack: Stack) -> EncodedImage:
    """Describe an image whose red, green and blue are separate pages."""
    kinds = [(check_kind(page), page.size, page.photometric) for page in pages]
    if kinds != [kinds[0]] * 3 or len(kinds[0][0]) > 1:
        raise pages[0].source.unsupported(
            "it is a TIFF whose channels are pages of different kinds or sizes",
            "Save the channels merged to RGB as one file.",
        )
    bits = kinds[0][0]
    return _describe([(page, read_blocks(page, bits)) for page in pages], bits, stack)


def _describe(
    parts: Sequence[tuple[Page, Blocks]], bits: tuple[int, ...], stack: Stack
) -> EncodedImage:
    page = parts[0][0]
    orientation = page.one(tags.ORIENTATION, 1)
    deep = bits[0] == 16
    directories = [
        _fields(page, blocks, bits, is_plane=len(parts) > 1, deep=deep) for page, blocks in parts
    ]
    return EncodedImage(
        format="TIFF",
        width=page.one(tags.WIDTH),
        height=page.one(tags.HEIGHT),
        data=tags.append_directories(page.source, page.layout, directories),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        bits=bits[0],
        inverted=deep and page.photometric == tags.WHITE_IS_ZERO,
        planes=len(parts),
        parts=tuple(chain.from_iterable(read_jpegs(page, blocks) for page, blocks in parts)),
        white=max(_white(page, stack) for page, _ in parts) if deep else 0,
    )


def _white(page: Page, stack: Stack) -> int:
    """Return the declared maximum of 16-bit samples; 0 if there is none.

    OME's SignificantBits and ImageJ's range take precedence. The fields MaxSampleValue and
    SMaxSampleValue are meant as statistics, but plain TIFF has no other way to declare a range.
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
    """Return the fields that the decoder needs, with planes and 16 bits simplified."""
    layout = page.layout
    entries = {tag: entry for tag in _NEEDED if (entry := page.entry(tag)) is not None}
    fields = {tag: tags.field(page.source, layout, entry) for tag, entry in entries.items()}
    photometric, extra = page.photometric, page.extra
    if deep and photometric == tags.WHITE_IS_ZERO:
        photometric = tags.BLACK_IS_ZERO
    if is_plane:
        photometric = min(photometric, tags.BLACK_IS_ZERO)
        bits, extra = bits[:1], ()
    if deep and extra == (tags.ASSOCIATED_ALPHA,):
        extra = (tags.ALPHA,)
    if extra:
        fields[tags.EXTRA_SAMPLES] = tags.shorts(layout, *extra)
    fields[tags.PHOTOMETRIC] = tags.shorts(layout, photometric)
    fields[tags.BITS] = tags.shorts(layout, *bits)
    fields[tags.SAMPLES] = tags.shorts(layout, len(bits))
    fields[tags.PLANES] = tags.shorts(layout, tags.SEPARATE if blocks.planes > 1 else 1)
    return fields | _block_fields(layout, blocks)


def _block_fields(layout: tags.Layout, blocks: Blocks) -> dict[int, tags.Field]:
    offsets, lengths = tags.longs(layout, blocks.offsets), tags.longs(layout, blocks.lengths)
    if blocks.tiled:
        return {
            tags.TILE_WIDTH: tags.longs(layout, (blocks.across,)),
            tags.TILE_HEIGHT: tags.longs(layout, (blocks.down,)),
            tags.TILES: offsets,
            tags.TILE_BYTES: lengths,
        }
    return {
        tags.ROWS_PER_STRIP: tags.longs(layout, (blocks.down,)),
        tags.STRIPS: offsets,
        tags.STRIP_BYTES: lengths,
    }
