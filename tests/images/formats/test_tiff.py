"""TIFF: which pages are the image, their range, and deviations that other readers accept."""

import io
import struct
import subprocess
import sys
import textwrap
import time
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from hematovision import images
from hematovision.errors import NotAnImageError, TruncatedImageError
from hematovision.images.formats.tiff import tags
from image_files import noise, save, scene, tiff
from tiff_files import (
    channels,
    fields_of,
    grey_pages,
    imagej,
    ome,
    ome_xml,
    one_page,
    packed,
)

RED, GREEN, BLUE = -16776961, 16711935, 65535  # RGBA of 32 bits, signed, as OME writes it
NAMES = {"Channel": {"Name": ["Red", "Green", "Blue"]}}


def read(data):
    """Read with warnings as errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return images.read(data)


def rejected(error, data, match):
    with pytest.raises(error, match=match) as caught:
        read(data)
    return caught.value.reason


def described(planes, text, **options):
    """Pack grey pages, the first with a given ImageDescription."""
    return grey_pages(planes, first=[(270, 2, text)], **options)


def imagej_block(labels=(), tables=(), order=">"):
    """ImageJ's fields 50838 and 50839: labels of slices, and lookup tables."""
    codec = "utf-16-le" if order == "<" else "utf-16-be"
    parts = [(b"labl", [label.encode(codec) for label in labels]), (b"luts", list(tables))]
    parts = [(kind, contents) for kind, contents in parts if contents]
    mark = (lambda kind: kind[::-1]) if order == "<" else (lambda kind: kind)
    header = mark(b"IJIJ")
    for kind, contents in parts:
        header += mark(kind) + struct.pack(f"{order}I", len(contents))
    contents = [content for _, several in parts for content in several]
    lengths = (len(header), *map(len, contents))
    return [(50838, 4, lengths), (50839, 7, header + b"".join(contents))]


def table(red, green, blue):
    """A lookup table from black to a colour."""
    ramp = np.arange(256) / 255
    return b"".join((ramp * most).astype(np.uint8).tobytes() for most in (red, green, blue))


class TestChannelsAsPages:
    @pytest.mark.parametrize(
        "data",
        [
            ome(channels(), **NAMES),
            ome(channels()),
            ome(channels(), bigtiff=True),
            imagej(channels(), mode="composite"),
            imagej(channels(), mode="color"),
            imagej(channels(), mode="grayscale"),
            imagej(channels()),
            tiff(np.stack(channels()), metadata={"axes": "CYX"}),
            described(channels(), b"ImageJ=1.54f\nimages=3\nchannels=3\nmode=composite\n\0"),
            described(channels(), b"ImageJ=1.54f\nimages=3\nchannels=3\n\0", order=">"),
            described(channels(), ome_xml(), order=">", big=True),
        ],
    )
    def test_are_joined_if_the_metadata_declare_it(self, data):
        np.testing.assert_array_equal(read(data), scene())

    @pytest.mark.parametrize("order", "<>")
    @pytest.mark.parametrize("compression", [None, "zlib"])
    def test_keep_all_16_bits(self, order, compression):
        deep = noise(24, 32, 3, dtype=np.uint16)
        planes = np.stack(channels(deep))
        options = {"byteorder": order, "compression": compression}
        data = tiff(planes, metadata={"axes": "CYX"}, rowsperstrip=5, **options)
        expected = np.round(deep / 65535 * 255).astype(np.uint8)
        np.testing.assert_array_equal(read(data), expected)

    def test_may_be_tiled_and_large(self):
        image = noise(70, 90, 3)
        data = tiff(np.stack(channels(image)), metadata={"axes": "CYX"}, tile=(32, 16))
        np.testing.assert_array_equal(read(data), image)

    def test_are_put_in_order_by_their_names(self):
        red, green, blue = channels()
        names = {"Channel": {"Name": ["blue", "Red", "GREEN"]}}
        np.testing.assert_array_equal(read(ome([blue, red, green], **names)), scene())

    def test_are_put_in_order_by_their_colours_not_by_the_dyes(self):
        red, green, blue = channels()
        metadata = {"Channel": {"Name": ["DAPI", "FITC", "Cy5"], "Color": [BLUE, GREEN, RED]}}
        np.testing.assert_array_equal(read(ome([blue, green, red], **metadata)), scene())

    @pytest.mark.parametrize("order", "<>")
    def test_are_put_in_order_by_imagejs_lookup_tables(self, order):
        red, green, blue = channels()
        tables = [table(0, 0, 255), table(255, 0, 0), table(0, 255, 0)]
        text = b"ImageJ=1.54f\nimages=3\nchannels=3\nhyperstack=true\nmode=composite\n\0"
        first = [(270, 2, text), *imagej_block(["a.tif", "b", "c"], tables, order)]
        data = grey_pages([blue, red, green], first=first, order=order)
        np.testing.assert_array_equal(read(data), scene())

    def test_may_be_imagejs_rgb_stack_whose_slices_are_labelled(self):
        text = b"ImageJ=1.54f\nimages=3\nslices=3\n\0"
        labels = imagej_block(["Red", "Green", "Blue"])
        data = grey_pages(channels(), first=[(270, 2, text), *labels])
        np.testing.assert_array_equal(read(data), scene())

    def test_are_found_on_the_pages_that_ome_declares(self):
        red, green, blue = channels()
        blocks = "".join(
            f'<TiffData FirstC="{c}" IFD="{page}"/>' for c, page in ((0, 2), (1, 0), (2, 1))
        )
        data = described([green, blue, red], ome_xml(blocks=blocks))
        np.testing.assert_array_equal(read(data), scene())

    def test_may_be_shown_through_palettes(self):
        palettes = [(262, 3, (3,)), (320, 3, tuple(range(256)) * 3)]
        text = (270, 2, b"ImageJ=1.54f\nimages=3\nchannels=3\nmode=color\n\0")
        data = grey_pages(channels(), first=[text, *palettes], rest=palettes)
        np.testing.assert_array_equal(read(data), scene())

    def test_with_the_second_description_that_micro_manager_writes(self):
        first = [(270, 2, ome_xml()), (270, 2, b"ImageJ=1.52\nimages=3\nchannels=3\n\0")]
        pages = [fields_of(p, place=16 + 768 * n) for n, p in enumerate(channels())]
        pages[0] += first
        data = packed(pages, b"".join(p.tobytes() for p in channels()))
        np.testing.assert_array_equal(read(data), scene())

    @pytest.mark.parametrize(
        ("data", "match"),
        [
            (ome(channels(), Channel={"Name": ["DAPI", "FITC", "Cy5"]}), "DAPI, FITC, Cy5"),
            (
                ome(channels(), Channel={"Color": [65535, -65281, 16777215]}),
                "does not show which are red, green and blue",
            ),
            (
                ome(channels(), Channel={**NAMES["Channel"], "Color": [BLUE, GREEN, RED]}),
                "does not show which are red",
            ),
            (described(channels()[:1], ome_xml()), "1 of the 3 channels"),
            (described(channels(), ome_xml(blocks='<TiffData IFD="1"/>')), "1 of the 3 channels"),
            (
                described(
                    channels(), ome_xml(blocks="<TiffData><UUID>urn:uuid:2</UUID></TiffData>")
                ),
                "0 of the 3 channels",
            ),
        ],
    )
    def test_are_rejected_if_red_and_blue_are_ambiguous(self, data, match):
        rejected(NotAnImageError, data, match)

    def test_of_different_sizes_are_rejected(self):
        red, green, blue = channels()
        data = described([red, green, blue[:-1]], ome_xml())
        rejected(NotAnImageError, data, "pages of different kinds or sizes")

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    @pytest.mark.parametrize("planar", ["contig", "separate"])
    @pytest.mark.parametrize("ome", [True, False])
    def test_may_be_samples_of_one_page_declared_grey(self, dtype, planar, ome):
        image = noise(24, 32, 3, dtype=dtype)
        stored = image if planar == "contig" else np.stack(channels(image))
        axes = "YXC" if planar == "contig" else "CYX"
        data = tiff(stored, ome=ome, planarconfig=planar, metadata={"axes": axes})
        assert len(tifffile.TiffFile(io.BytesIO(data)).pages) == 1
        expected = np.floor(image / np.iinfo(dtype).max * 255 + 0.5)
        np.testing.assert_array_equal(read(data), expected)
        bare = tiff(stored, planarconfig=planar, metadata=None)
        rejected(NotAnImageError, bare, "3 grey samples per pixel that are not declared")


class TestStacks:
    GREY = np.stack([channels()[0]] * 5)

    @pytest.mark.parametrize(
        ("data", "match"),
        [
            (
                tiff(GREY, metadata=None),
                "5 grey pages, the first of 32 x 24 pixels, and it does not declare",
            ),
            (
                tiff(GREY[:3], metadata=None),
                "3 grey pages, the first of 32 x 24 pixels, and it does not declare",
            ),
            (tiff(GREY), "5 grey pages"),
            (imagej(GREY, "ZYX"), "5 grey pages.*ImageJ's description declares 5 slices"),
            (imagej(GREY, "TYX"), "declares 5 time points"),
            (imagej(GREY[:4], "CYX"), "declares 4 channels"),
            (tiff(GREY, ome=True, metadata={"axes": "ZYX"}), "OME-XML declares 5 slices"),
            (tiff(GREY, ome=True, metadata={"axes": "TYX"}), "OME-XML declares 5 time points"),
            (tiff(GREY[:2], ome=True, metadata={"axes": "CYX"}), "declares 2 channels"),
            (
                tiff(np.stack([GREY[:3]] * 2), ome=True, metadata={"axes": "ZCYX"}),
                "6 grey pages.*3 channels, 2 slices",
            ),
            (tiff(GREY, metadata={"axes": "ZYX"}), "declares 5 slices"),
            (tiff(np.stack([scene()] * 4), photometric="rgb", imagej=True), "4 pages.*4"),
            (
                tiff(
                    np.stack([scene()] * 4), photometric="rgb", ome=True, metadata={"axes": "TYXS"}
                ),
                "4 pages.*4 time points",
            ),
            (one_page(scene(), t33629=(4, (7, 1) * 7)), "MetaMorph's metadata declares 14 slices"),
            (
                described(channels()[:1], b"ImageJ=1.54f\nimages=9\nslices=9\n\0"),
                "9 grey pages.*9 slices",
            ),
            (
                described(channels()[:1], ome_xml((2, 1, 1))),
                "1 grey page, .* OME-XML declares 2 channels",
            ),
            (one_page(scene(), t270=(2, b"ImageJ=1.54f\nimages=9\n\0")), "declares 9 images"),
        ],
    )
    def test_are_rejected_with_what_was_found(self, data, match):
        reason = rejected(NotAnImageError, data, match)
        assert "Expected one image: save" in reason

    @pytest.mark.parametrize(
        "text",
        [
            b"<OME><!DOCTYPE a></OME>\0",
            b'<!DOCTYPE a [<!ENTITY b "ha">]><OME>&b;</OME>\0',
            b"<OME>",
            b"<OME/>\0",
            b"<svg><Pixels SizeC='3'/></svg>\0",
            b'{"shape": [3]}\0',
            b"[" * 100_000,
            b"ImageJ=\nimages=three\nchannels=-3\nmin=x\n\0",
            b"\xff\xfe\0\0 no text \x80",
        ],
    )
    def test_invalid_metadata_are_ignored(self, text):
        rejected(NotAnImageError, described(channels(), text), "3 grey pages")
        np.testing.assert_array_equal(read(one_page(scene(), t270=(2, text))), scene())


class TestFurtherPages:
    """A second page that is not part of the image does not change it."""

    def test_of_several_in_colour_the_first_is_read(self):
        pages = np.stack([scene(), scene()[::-1]])
        np.testing.assert_array_equal(read(tiff(pages, photometric="rgb", metadata=None)), scene())

    @pytest.mark.parametrize("mark", [(254, 4, (1,)), (254, 4, (4,)), (255, 3, (2,))])
    def test_a_thumbnail_or_mask_may_come_first_or_last(self, mark):
        grey = channels()[0]
        for planes, first, rest in (
            ([grey, 255 - grey], [], [mark]),
            ([255 - grey, grey], [mark], []),
        ):
            image = read(grey_pages(planes, first=first, rest=rest))
            np.testing.assert_array_equal(image, np.dstack([grey] * 3))

    def test_levels_of_a_pyramid_are_of_another_size(self):
        grey = noise(64, 48)
        planes = [grey, grey[::2, ::2], grey[::4, ::4]]
        np.testing.assert_array_equal(read(grey_pages(planes))[..., 1], grey)

    @pytest.mark.parametrize("shape", [(64, 24), (32, 48), (128, 96), (20, 40)])
    def test_pages_in_grey_that_are_no_smaller_copies_are_several(self, shape):
        data = grey_pages([noise(64, 48), noise(*shape)])
        rejected(NotAnImageError, data, "2 grey pages, the first of 48 x 64 pixels")

    def test_sub_directories_are_levels_of_a_pyramid(self):
        stream = io.BytesIO()
        image = noise(64, 48, 3)
        with tifffile.TiffWriter(stream, ome=True) as writer:
            options = {"photometric": "rgb", "tile": (16, 16)}
            writer.write(image, subifds=1, **options)
            writer.write(image[::2, ::2], subfiletype=1, **options)
        np.testing.assert_array_equal(read(stream.getvalue()), image)

    def test_only_thumbnails_are_read_as_they_are(self):
        np.testing.assert_array_equal(read(one_page(t254=(4, (1,)))), scene())

    def test_one_frame_of_a_recording_in_several_files_is_an_image(self):
        text = ome_xml(sizes=(3, 1, 50), blocks='<TiffData FirstT="7" IFD="0"/>')
        np.testing.assert_array_equal(read(one_page(t270=(2, text))), scene())


class TestDoubledFields:
    def test_two_descriptions_are_no_damage(self):
        fields = [*fields_of(scene()), (270, 2, b"<OME/>\0\0"), (270, 2, b"ImageJ=1.52\0")]
        np.testing.assert_array_equal(read(packed([fields], scene().tobytes())), scene())

    @pytest.mark.parametrize("tag", [269, 282, 305, 306, 315, 700, 33432, 51123])
    def test_nor_are_other_unneeded_fields(self, tag):
        fields = [*fields_of(scene()), (tag, 2, b"one\0"), (tag, 2, b"another one\0")]
        np.testing.assert_array_equal(read(packed([fields], scene().tobytes())), scene())

    @pytest.mark.parametrize("tag", [256, 258, 259, 262, 273, 277, 278, 279])
    def test_but_those_that_pixels_need_are(self, tag):
        fields = fields_of(scene())
        fields += [field for field in fields if field[0] == tag]
        data = packed([fields], scene().tobytes())
        rejected(TruncatedImageError, data, f"has the field {tag} twice")


class TestDynamicRange:
    # 4095 * 128 / 255 = 2055.5; 12 bits scaled by their range.
    TWELVE = np.array([[0, 8, 9, 2055, 2056, 4094, 4095, 1000]], np.uint16)
    EIGHT = (0, 0, 1, 128, 128, 255, 255, 62)

    @staticmethod
    def row(data):
        return tuple(read(data)[0, :, 0].tolist())

    @pytest.mark.parametrize(
        "data",
        [
            one_page(TWELVE, t281=(3, (4095,))),
            one_page(TWELVE, t341=(3, (4095,)), order=">"),
            one_page(np.dstack([TWELVE] * 3), t281=(3, (4095,) * 3), t280=(3, (0,) * 3)),
            one_page(TWELVE, t270=(2, ome_xml((1, 1, 1), "", "", 'SignificantBits="12"'))),
            tiff(TWELVE, ome=True, metadata={"axes": "YX", "SignificantBits": 12}),
            tiff(np.dstack([TWELVE] * 3), photometric="rgb", ome=True,
                 metadata={"axes": "YXS", "SignificantBits": 12}),
            tiff(np.stack([TWELVE] * 3), ome=True, metadata={"axes": "CYX", "SignificantBits": 12}),
            tiff(np.stack([TWELVE] * 3), imagej=True,
                 metadata={"axes": "CYX", "min": 0.0, "max": 4095.0}),
            one_page(4095 - TWELVE, t281=(3, (4095,)), t262=(3, (0,))),
            one_page(TWELVE, t281=(3, (4095,)), t284=(3, (2,))),
        ],
    )  # fmt: skip
    def test_that_is_declared_is_used(self, data):
        assert self.row(data) == self.EIGHT

    @pytest.mark.parametrize("bits", [9, 10, 11, 14, 15])
    def test_of_every_depth(self, bits):
        most = 2**bits - 1
        values = np.array([[0, most // 2, most, most // 3]], np.uint16)
        expected = np.floor(values[0] / most * 255 + 0.5).astype(int).tolist()
        assert list(self.row(one_page(values, t281=(3, (most,))))) == expected

    def test_also_holds_for_an_image_that_does_not_reach_it(self):
        dim = np.array([[0, 100, 800]], np.uint16)
        assert self.row(one_page(dim, t281=(3, (4095,)))) == (0, 6, 50)
        assert self.row(one_page(dim, t281=(3, (65535,)))) == (0, 0, 3)
        assert self.row(one_page(dim, t281=(3, (1000,)))) == (0, 26, 204)

    def test_is_used_with_alpha_of_either_range(self):
        for most in (4095, 65535):
            pixels = np.array([[[4095, 2048, 0, most], [4095, 0, 0, most // 2]]], np.uint16)
            data = one_page(pixels, t281=(3, (4095,) * 4), t338=(3, (2,)))
            assert read(data)[0].tolist() == [[255, 128, 0], [255, 128, 128]]

    @pytest.mark.parametrize("most", [255, 1023, 4095, 16383])
    def test_that_is_not_declared_is_an_error_and_not_read_nearly_black(self, most):
        values = np.array([[0, most // 2, most - 1]], np.uint16)
        for data in (one_page(values), save(Image.fromarray(values), "PNG")):
            reason = rejected(NotAnImageError, data, f"none is above {most - 1:,}")
            assert f"{most.bit_length()} bits that does not declare its range" in reason
            assert f"MaxSampleValue {most}" in reason

    def test_a_statistic_of_the_image_is_no_range(self):
        values = np.array([[0, 1500, 3127]], np.uint16)
        rejected(NotAnImageError, one_page(values, t281=(3, (3127,))), "none is above 3,127")
        window = b"ImageJ=1.54f\nmin=12.0\nmax=3127.0\n\0"
        rejected(NotAnImageError, one_page(values, t270=(2, window)), "none is above 3,127")

    def test_of_channels_is_the_largest_that_their_pages_declare(self):
        planes = [np.array([[0, value]], np.uint16) for value in (1000, 4095, 2000)]
        text = (270, 2, ome_xml())
        data = grey_pages(planes, first=[text, (281, 3, (1000,))], rest=[(281, 3, (4095,))])
        assert read(data)[0].tolist() == [[0, 0, 0], [62, 255, 125]]

    def test_that_the_samples_exceed_is_wrong_and_is_not_used(self):
        values = np.array([[0, 32768, 65535]], np.uint16)
        assert self.row(one_page(values, t281=(3, (4095,)))) == (0, 128, 255)

    @pytest.mark.parametrize("field", [(2, b"4095\0"), (12, (4095.0,)), (3, ()), (3, (4095,) * 99)])
    def test_declared_in_another_way_never_rejects_an_image(self, field):
        values = np.array([[0, 32768, 65535]], np.uint16)
        assert self.row(one_page(values, t281=field)) == (0, 128, 255)


class TestLayouts:
    @pytest.mark.parametrize("order", "<>")
    @pytest.mark.parametrize("big", [False, True])
    @pytest.mark.parametrize("layout", ["strips", "tiles", "planes"])
    @pytest.mark.parametrize("compression", [None, "zlib"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_are_read_as_tifffile_reads_them(self, order, big, layout, compression, dtype):
        image = noise(37, 53, 3, dtype=dtype)
        options = {"tile": (16, 32)} if layout == "tiles" else {"rowsperstrip": 7}
        if layout == "planes":
            options["planarconfig"] = "separate"
            image = np.ascontiguousarray(image.transpose(2, 0, 1))
        options |= {"byteorder": order, "bigtiff": big, "compression": compression}
        predictor = compression is not None
        data = tiff(image, photometric="rgb", predictor=predictor, metadata=None, **options)
        reference = tifffile.imread(io.BytesIO(data))
        if layout == "planes":
            reference = reference.transpose(1, 2, 0)
        scale = np.iinfo(dtype).max / 255
        np.testing.assert_array_equal(read(data), np.floor(reference / scale + 0.5))

    @pytest.mark.parametrize(
        "compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "tiff_deflate", "zstd"]
    )
    def test_every_lossless_compression(self, compression):
        np.testing.assert_array_equal(read(save(scene(), "TIFF", compression=compression)), scene())

    @pytest.mark.parametrize("alpha", ["unassalpha", "assocalpha", "unspecified"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_planes_with_a_fourth_sample(self, alpha, dtype):
        most = np.iinfo(dtype).max
        colours = noise(9, 8, 3, dtype=dtype)
        fourth = np.full((9, 8, 1), most, dtype)
        fourth[0] = 0 if alpha == "unassalpha" else most
        planes = np.concatenate([colours, fourth], axis=2).transpose(2, 0, 1)
        options = {"planarconfig": "separate", "extrasamples": [alpha]}
        image = read(tiff(np.ascontiguousarray(planes), photometric="rgb", **options))
        expected = np.floor(colours / most * 255 + 0.5)
        expected[0] = 255 if alpha == "unassalpha" else expected[0]
        np.testing.assert_array_equal(image, expected)

    @pytest.mark.parametrize("kind", [1, 3, 4, 13, 16])
    def test_places_of_every_type_in_big_tiff(self, kind):
        fields = fields_of(scene(), t273=(16 if kind > 4 else kind, (16,)))
        data = bytearray(packed([fields], scene().tobytes(), order=">", big=True))
        if kind == 13:
            place = data.index(struct.pack(">HHQ", 273, 16, 1))
            struct.pack_into(">HHQI", data, place, 273, 13, 1, 16)
        np.testing.assert_array_equal(read(bytes(data)), scene())


class TestJpeg:
    """JPEGs inside TIFF, whose missing parts libtiff paints grey."""

    IMAGE = np.kron(scene(), np.ones((12, 12, 1), np.uint8))
    WHOLE = save(IMAGE, "TIFF", compression="jpeg", quality=90)

    def test_is_read(self):
        assert abs(read(self.WHOLE).astype(int) - self.IMAGE).mean() < 3

    @pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.97])
    @pytest.mark.parametrize("which", [0, -1])
    @pytest.mark.parametrize("end", [b"\xff\xd9", b""])
    def test_that_is_cut_and_filled_up_is_damaged(self, share, which, end):
        page = tifffile.TiffFile(io.BytesIO(self.WHOLE)).pages[0]
        start, length = page.dataoffsets[which], page.databytecounts[which]
        stop = start + int(share * length)
        data = self.WHOLE[:stop] + end.ljust(start + length - stop, b"\0")
        data += self.WHOLE[start + length :]
        rejected(TruncatedImageError, data, "Copy the file again")

    def test_that_is_smaller_than_its_strip_is_damaged(self):
        small = save(self.IMAGE[:100, :100], "JPEG", quality=90, subsampling=0)
        fields = fields_of(self.IMAGE, t259=(3, (7,)), t262=(3, (6,)), t279=(4, (len(small),)))
        rejected(TruncatedImageError, packed([fields], small), "100 x 100 pixels where 384 x 288")

    def test_that_is_no_jpeg_is_damaged(self):
        data = one_page(self.IMAGE, t259=(3, (7,)), t262=(3, (6,)))
        rejected(TruncatedImageError, data, "a strip or tile that is not a JPEG")

    def test_in_thousands_of_tiny_tiles_is_counted_first(self):
        number = 2500
        fields = fields_of(np.zeros((800, 800), np.uint8), without=(273, 278, 279), t259=(3, (7,)))
        fields += [(322, 4, (16,)), (323, 4, (16,))]
        fields += [(324, 4, (16,) * number), (325, 4, (9,) * number)]
        rejected(TruncatedImageError, packed([fields], bytes(99)), "more than 1,180 JPEGs")


class TestCompressions:
    @pytest.mark.parametrize(
        ("number", "name"),
        [
            (6, "old-style JPEG"), (9, "JBIG"), (33003, "JPEG 2000"), (34712, "JPEG 2000"),
            (34887, "LERC"), (34925, "LZMA"), (34927, "WebP"), (34934, "JPEG XR"), (50001, "WebP"),
            (50002, "JPEG XL"), (52546, "JPEG XL"), (12345, "an unknown method"),
        ],
    )  # fmt: skip
    def test_that_cannot_be_read_are_named(self, number, name):
        data = one_page(t259=(3, (number,)))
        rejected(NotAnImageError, data, rf"compressed with {name} \(number {number}\)")

    def test_that_libtiff_was_built_without_is_named(self, monkeypatch):
        monkeypatch.setattr(
            "hematovision.images.formats.tiff.tags.can_decode", lambda number: number == 1
        )
        rejected(NotAnImageError, save(scene(), "TIFF", compression="zstd"), "with Zstandard")

    def test_nothing_is_printed_for_any_damage(self, tmp_path):
        files = {f"{n}.tif": one_page(t259=(3, (n,))) for n in (3, 4, 5, 7, 8, 32773, 50000, 50001)}
        whole = save(noise(64, 64, 3), "TIFF", compression="tiff_lzw")
        damaged = bytearray(whole)
        damaged[5000:5100] = b"\xff" * 100
        files |= {"damaged.tif": bytes(damaged), "big.tif": one_page(order=">", big=True)}
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        script = textwrap.dedent(
            """
            import sys
            from pathlib import Path
            from hematovision import images
            from hematovision.errors import ImageError
            for path in sorted(Path(sys.argv[1]).iterdir()):
                try:
                    images.read(path)
                except ImageError:
                    print(path.name)
            """
        )
        result = subprocess.run(
            [sys.executable, "-W", "always", "-c", script, str(tmp_path)],
            capture_output=True, check=True, text=True,
        )  # fmt: skip
        assert result.stderr == ""
        assert {"50001.tif", "damaged.tif"} <= set(result.stdout.split())
        assert "big.tif" not in result.stdout


class TestLengths:
    """Missing and empty lengths of strips and tiles, as other readers accept them."""

    @pytest.mark.parametrize("order", "<>")
    @pytest.mark.parametrize("big", [False, True])
    @pytest.mark.parametrize("rows", [24, 7])
    @pytest.mark.parametrize("given", ["missing", "zero", "some"])
    def test_of_uncompressed_strips(self, order, big, rows, given):
        tops = range(0, 24, rows)
        offsets = tuple(16 + top * 96 for top in tops)
        lengths = (
            (0,) * len(offsets) if given == "zero" else (rows * 96, 0, rows * 96, 0)[: len(offsets)]
        )
        changes = {"t273": (4, offsets), "t278": (3, (rows,)), "t279": (4, lengths)}
        without = (279,) if given == "missing" else ()
        fields = fields_of(scene(), without=without, **changes)
        data = packed([fields], scene().tobytes(), order=order, big=big)
        np.testing.assert_array_equal(read(data), scene())

    @pytest.mark.parametrize("without", [(278, 279), (278,), (277, 279)])
    def test_of_one_strip_with_few_other_fields(self, without):
        grey = channels()[0]
        data = packed([fields_of(grey, without=without)], grey.tobytes())
        np.testing.assert_array_equal(read(data)[..., 0], grey)

    @pytest.mark.parametrize("zero", [True, False])
    @pytest.mark.parametrize("parts", [1, 4])
    @pytest.mark.parametrize("backwards", [False, True])
    def test_of_compressed_strips_reach_to_the_next(self, zero, parts, backwards):
        strips = [zlib.compress(part.tobytes()) for part in np.split(scene(), parts)]
        stored = strips[::-1] if backwards else strips
        places = [16 + sum(map(len, stored[:n])) for n in range(parts)]
        offsets = tuple(places[::-1] if backwards else places)
        changes = {"t273": (4, offsets), "t278": (3, (24 // parts,)), "t259": (3, (8,))}
        fields = fields_of(
            scene(), without=() if zero else (279,), **changes, t279=(4, (0,) * parts)
        )
        np.testing.assert_array_equal(read(packed([fields], b"".join(stored))), scene())

    @pytest.mark.parametrize("compressed", [False, True])
    @pytest.mark.parametrize("tags", [(324, 325), (273, 279), (324, None)])
    def test_of_tiles(self, compressed, tags):
        padded = np.pad(scene(), ((0, 8), (0, 0), (0, 0)))
        tiles = [padded[y : y + 16, x : x + 16].tobytes() for y in (0, 16) for x in (0, 16)]
        tiles = [zlib.compress(tile) if compressed else tile for tile in tiles]
        offsets = tuple(16 + sum(map(len, tiles[:n])) for n in range(4))
        fields = fields_of(
            scene(), without=(273, 278, 279), t322=(3, (16,)), t323=(3, (16,)),
            t259=(3, (8 if compressed else 1,)),
        )  # fmt: skip
        fields.append((tags[0], 4, offsets))
        if tags[1]:
            fields.append((tags[1], 4, (0,) * 4))
        np.testing.assert_array_equal(read(packed([fields], b"".join(tiles))), scene())

    def test_of_a_file_that_is_cut_are_still_noticed(self):
        fields = fields_of(scene(), without=(279,))
        short = scene().tobytes()[:-400]
        rejected(TruncatedImageError, packed([fields], short), "ends early")

    def test_of_a_sparse_file_stand_for_strips_that_were_never_written(self):
        changes = {"t273": (4, (16, 0)), "t279": (4, (12 * 96, 0)), "t278": (3, (12,))}
        data = packed([fields_of(scene(), **changes)], scene().tobytes())
        rejected(TruncatedImageError, data, "lacks some of its strips")


class TestTime:
    """Work is counted before it is done."""

    @staticmethod
    def empty_pages(number, start):
        pages = np.zeros(number, dtype=[("fields", "<u2"), ("following", "<u4")])
        pages["following"][:-1] = start + 6 * np.arange(1, number)
        return pages.tobytes()

    @staticmethod
    def timed(error, data, match):
        start = time.process_time()  # not that of other tests
        rejected(error, data, match)
        assert time.process_time() - start < 1

    def test_millions_of_empty_pages(self):
        data = b"II*\0" + struct.pack("<I", 8) + self.empty_pages(5_000_000, 8)
        self.timed(NotAnImageError, data, "more than 4,096 pages")

    def test_millions_of_empty_pages_behind_a_good_one(self):
        data = bytearray(one_page())
        (start,) = struct.unpack_from("<I", data, 4)
        (count,) = struct.unpack_from("<H", data, start)
        struct.pack_into("<I", data, start + 2 + 12 * count, len(data))
        data += self.empty_pages(3_000_000, len(data))
        self.timed(NotAnImageError, bytes(data), "more than 4,096 pages")

    def test_a_page_of_millions_of_fields(self):
        header = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 5_000_000)
        self.timed(NotAnImageError, header + bytes(20 * 5_000_000 + 8), "65,536 fields")

    def test_pages_in_a_circle_of_any_length(self):
        data = bytearray(b"II*\0" + struct.pack("<I", 8) + self.empty_pages(3000, 8))
        struct.pack_into("<I", data, len(data) - 4, 8 + 6 * 1000)
        self.timed(TruncatedImageError, bytes(data), "chain of pages is circular")

    def test_millions_of_strips(self):
        fields = fields_of(np.zeros((9, 9), np.uint8), t273=(4, (16,) * 2_000_000))
        self.timed(NotAnImageError, packed([fields], bytes(100)), "65,536 strips or tiles")

    def test_few_pages_that_share_their_millions_of_strips(self):
        grey = np.zeros((9, 9), np.uint8)
        strips = (4, (16,) * 60_000)
        data = bytearray(packed([fields_of(grey, t273=strips, t279=strips)] * 9, bytes(100)))
        self.timed(NotAnImageError, bytes(data), "262,144 in all")

    @pytest.mark.parametrize(
        ("height", "width", "tile"), [(600, 6, 2**20), (60_000, 1000, 4096), (4000, 40, 2**14)]
    )
    def test_tiles_out_of_proportion_to_the_image(self, height, width, tile):
        shape = np.broadcast_to(np.uint8(0), (height, width))
        number = -(-height // tile) * -(-width // tile)
        places = [(324, 4, (16,) * number), (325, 4, (9,) * number)]
        fields = fields_of(shape, without=(273, 278, 279), t259=(3, (8,)))
        data = packed([[*fields, (322, 4, (tile,)), (323, 4, (tile,)), *places]], bytes(400))
        self.timed(TruncatedImageError, data, "tiles of impossible size")

    @pytest.mark.parametrize("tile", [16, 256, 4096])
    def test_tiles_larger_than_a_small_image_are_read(self, tile):
        data = tiff(scene(), photometric="rgb", tile=(tile, tile), compression="zlib")
        np.testing.assert_array_equal(read(data), scene())

    def test_strips_that_all_share_the_whole_file(self):
        number = 4000
        fields = fields_of(
            np.zeros((number, 64), np.uint8), t273=(4, (16,) * number), t278=(4, (1,)),
            t279=(4, (1_000_000,) * number), t259=(3, (5,)), t266=(3, (2,)),
        )  # fmt: skip
        data = packed([fields], bytes(1_000_000))
        self.timed(TruncatedImageError, data, "strips or tiles overlap")

    def test_a_field_of_millions_of_values(self):
        fields = fields_of(np.zeros((9, 9), np.uint8), t258=(3, (8,) * 3_000_000))
        self.timed(TruncatedImageError, packed([fields], bytes(100)), "more than 64")

    @pytest.mark.parametrize(
        "inside",
        [
            b"<a/>" * 500_000,
            b"<a>" * 200_000,
            b'<Pixels SizeC="3">' + b"<TiffData/>" * 90_000 + b"</Pixels>",
            b'<Pixels SizeC="65535">' + b'<TiffData PlaneCount="65535"/>' * 19_000 + b"</Pixels>",
        ],
    )
    def test_metadata_of_many_elements(self, inside):
        text = (270, 2, b"<OME>" + inside + b"</OME>\0")
        data = packed([[*fields_of(scene()), text, text, text, text]], scene().tobytes())
        start = time.perf_counter()
        np.testing.assert_array_equal(read(data), scene())
        assert time.perf_counter() - start < 2


def test_built_in_compressions_are_supported():
    assert tags.can_decode(1)
    assert tags.can_decode(5)


def test_without_access_to_libtiff_every_compression_is_tried(monkeypatch):
    monkeypatch.setattr(tags, "_library", lambda: None)
    assert tags.can_decode(50000)


def test_a_pillow_without_its_own_libtiff_is_accepted(monkeypatch):
    def missing(_):
        raise OSError

    monkeypatch.setattr("ctypes.CDLL", missing)
    assert tags._library.__wrapped__() is None
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    assert tags._library.__wrapped__() is None
    monkeypatch.setitem(sys.modules, "PIL._imaging", None)
    assert tags._library.__wrapped__() is None
