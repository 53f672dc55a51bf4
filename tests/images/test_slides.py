"""Slides: pyramids and other large images, read by region."""

import struct
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from PIL import Image

from benchmarks.slide_files import make_mosaic, write_dicom, write_pyramid
from hematovision import images
from hematovision.errors import (
    ImageError,
    NotAnImageError,
    TooManyPixelsError,
    TruncatedImageError,
    UnreadableFileError,
)
from hematovision.images.slides import is_slide, open_slide, slide, tiled
from image_files import save, scene

SIDE = 2000
KINDS = ("plain", "ome", "svs", "dicom")


@pytest.fixture(scope="module")
def mosaic():
    return make_mosaic(SIDE, patch=500, patches=2, glass=0.3)


@pytest.fixture(scope="module")
def truth(mosaic):
    return mosaic.read(0, 0, SIDE, 1)


@pytest.fixture(scope="module")
def folder(mosaic, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    write_pyramid(folder / "plain.tif", mosaic)
    write_pyramid(folder / "ome.tif", mosaic, ome=True)
    write_pyramid(folder / "svs.svs", mosaic, aperio=True)
    write_dicom(folder / "dicom", mosaic)
    return folder


def place(folder, kind):
    names = {"plain": "plain.tif", "ome": "ome.tif", "svs": "svs.svs", "dicom": "dicom/0.dcm"}
    return folder / names[kind]


def difference(a, b):
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize("kind", KINDS)
class TestPyramids:
    def test_size_levels_and_scale(self, folder, kind):
        with open_slide(place(folder, kind)) as opened:
            assert (opened.width, opened.height) == (SIDE, SIDE)
            assert opened.levels[0].downsample == 1
            if kind != "plain":
                assert repr(opened).endswith("0.1 um/px>")
            assert opened.um_per_px == pytest.approx(0.1)
            assert opened.objective == (100 if kind in ("svs", "dicom") else None)

    def test_regions_show_the_pixels_there(self, folder, truth, kind):
        with open_slide(place(folder, kind)) as opened:
            for x, y, width, height in ((0, 0, 700, 300), (517, 1011, 800, 900), (1990, 3, 10, 9)):
                region = opened.read_region(x, y, width, height)
                assert region.shape == (height, width, 3)
                assert difference(region, truth[y : y + height, x : x + width]) < 3

    def test_beyond_the_border_is_background(self, folder, truth, kind):
        with open_slide(place(folder, kind)) as opened:
            region = opened.read_region(-100, 1900, 300, 200)
            assert (region[:, :100] == opened.background).all()
            assert (region[100:] == opened.background).all()
            assert difference(region[:100, 100:], truth[1900:, :200]) < 3
            assert (opened.read_region(-99, -99, 99, 99) == 255).all()
            assert (opened.read_region(SIDE, 0, 9, 9) == 255).all()

    def test_it_is_a_slide(self, folder, kind):
        assert is_slide(place(folder, kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("downsample", [1.7, 4, 5.3, 16])
def test_smaller_regions_are_means_of_the_pixels(folder, truth, kind, downsample):
    with open_slide(place(folder, kind)) as opened:
        assert [round(level.downsample) for level in opened.levels] == [1, 4]
        assert opened.level_for(downsample) == (downsample >= 4)
        region = opened.read_region(400, 256, 1600, 1024, downsample=downsample)
    size = (round(1600 / downsample), round(1024 / downsample))
    part = Image.fromarray(truth[256:1280, 400:2000])
    expected = np.asarray(part.resize(size, Image.Resampling.BOX))
    assert region.shape == expected.shape
    assert difference(region, expected) < 2.5


def test_a_thumbnail_shows_the_whole_slide(folder, truth):
    with open_slide(folder / "plain.tif") as opened:
        small = opened.thumbnail(100)
    expected = Image.fromarray(truth).resize((100, 100), Image.Resampling.BOX)
    assert difference(small, np.asarray(expected)) < 2


@pytest.fixture(scope="module")
def noise():
    rng = np.random.default_rng(1)
    blocks = rng.integers(0, 256, (90, 75, 3), np.uint8)
    return blocks.repeat(8, axis=0).repeat(8, axis=1)


LAYOUTS = {
    "raw tiles": {"tile": (128, 256)},
    "deflate": {"tile": (64, 64), "compression": "zlib", "predictor": True},
    "planes": {"tile": (128, 128), "planarconfig": "separate"},
    "one strip": {"rowsperstrip": 720},
    "strips": {"rowsperstrip": 50, "compression": "zlib"},
    "big, the other byte order": {"bigtiff": True, "byteorder": ">", "tile": (128, 128)},
}


class TestTiffs:
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_every_layout_yields_the_same_pixels(self, tmp_path, noise, layout):
        data = noise.transpose(2, 0, 1) if layout == "planes" else noise
        tifffile.imwrite(
            tmp_path / "a.tif", data, photometric="rgb", metadata=None, **LAYOUTS[layout]
        )
        with open_slide(tmp_path / "a.tif") as opened:
            np.testing.assert_array_equal(opened.read_region(0, 0, 600, 720), noise)
            np.testing.assert_array_equal(opened.read_region(9, 130, 1, 300), noise[130:430, 9:10])
            np.testing.assert_array_equal(
                opened.read_region(255, 127, 2, 2), noise[127:129, 255:257]
            )
            assert opened.is_tiled == ("strip" not in layout)

    @pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "jpeg", "tiff_adobe_deflate"])
    def test_compressions(self, tmp_path, noise, compression):
        smooth = np.asarray(Image.fromarray(noise).resize((600, 720), Image.Resampling.BOX))
        options = {"quality": 95} if compression == "jpeg" else {}
        Image.fromarray(smooth).save(tmp_path / "a.tif", compression=compression, **options)
        expected = images.read(tmp_path / "a.tif")
        with open_slide(tmp_path / "a.tif") as opened:
            region = opened.read_region(100, 50, 333, 600)
        np.testing.assert_array_equal(region, expected[50:650, 100:433])

    def test_grey_and_palette(self, tmp_path, noise):
        for mode in ("L", "P"):
            Image.fromarray(noise).convert(mode).save(tmp_path / "a.tif")
            with open_slide(tmp_path / "a.tif") as opened:
                region = opened.read_region(0, 0, 600, 720)
            np.testing.assert_array_equal(region, images.read(tmp_path / "a.tif"))

    def test_jpegs_of_rgb_are_not_taken_for_ycbcr(self, tmp_path, mosaic):
        """Some scanners store RGB in JPEGs without a marker that declares it."""
        path = write_pyramid(tmp_path / "a.tif", mosaic)
        with tifffile.TiffFile(path, mode="r+b") as file:
            file.pages[0].tags["PhotometricInterpretation"].overwrite(2)
        with open_slide(path) as opened:
            raw = opened.read_region(0, 0, 500, 500)
        as_ycbcr = np.asarray(Image.fromarray(mosaic.read(0, 0, 500, 1)).convert("YCbCr"))
        assert difference(raw, as_ycbcr) < 3

    def test_missing_tiles_are_background(self, tmp_path, noise):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, noise, tile=(256, 256), metadata=None)
        with tifffile.TiffFile(path) as file:
            place = file.pages[0].tags["TileByteCounts"].valueoffset
        content = bytearray(path.read_bytes())
        struct.pack_into("<I", content, place, 0)
        path.write_bytes(content)
        with open_slide(path) as opened:
            region = opened.read_region(0, 0, 600, 720)
        assert (region[:256, :256] == 255).all()
        np.testing.assert_array_equal(region[256:], noise[256:])

    def test_a_damaged_tile_is_an_error_and_the_rest_is_read(self, tmp_path, mosaic, truth):
        path = write_pyramid(tmp_path / "a.tif", mosaic)
        with tifffile.TiffFile(path) as file:
            start = file.pages[0].dataoffsets[5]  # the second of the second row
        content = bytearray(path.read_bytes())
        content[start : start + 400] = bytes(400)
        path.write_bytes(content)
        with open_slide(path) as opened:
            with pytest.raises(TruncatedImageError, match=r"a\.tif: .*not a JPEG"):
                opened.read_region(600, 600, 100, 100)
            assert difference(opened.read_region(0, 0, 500, 500), truth[:500, :500]) < 3

    def test_a_cut_file_is_an_error_where_it_ends(self, tmp_path, mosaic, truth):
        path = write_pyramid(tmp_path / "a.tif", mosaic)
        with tifffile.TiffFile(path) as file:
            end = file.pages[0].dataoffsets[-1] + 100
        with open_slide(path) as opened, path.open("r+b") as stream:
            stream.truncate(end)
            with pytest.raises(TruncatedImageError, match="cut while it was read"):
                opened.read_region(1900, 1900, 50, 50)
            assert difference(opened.read_region(0, 0, 500, 500), truth[:500, :500]) < 3
            with pytest.raises(TruncatedImageError, match="ends early"), open_slide(path) as again:
                again.read_region(1900, 1900, 50, 50)


def declare(path, **fields):
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name, value in fields.items():
            file.pages[0].tags[name].overwrite(value)
    return path


class TestHostileFiles:
    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, np.zeros((512, 512, 3), np.uint8), tile=(256, 256), metadata=None)
        return path

    def test_more_pixels_than_any_scanner_makes(self, path):
        declare(path, ImageWidth=2**30, ImageLength=2**30, TileWidth=2**30, TileLength=2**30)
        with pytest.raises(NotAnImageError, match="at most 16,777,216 pixels each"):
            tiled.open_tiled(path)
        declare(path, TileWidth=256, TileLength=256)
        with pytest.raises(TruncatedImageError, match="lacks some of its 17,592,186,044,416"):
            tiled.open_tiled(path)

    def test_the_limit_of_slides(self, tmp_path):
        with pytest.raises(TooManyPixelsError, match="the limit for slides is 274,877,906,944"):
            slide.Slide(tmp_path, "tiff", [(2**20, 2**20)], None)

    def test_a_tile_that_declares_more_bytes_than_it_needs(self, path):
        with path.open("ab") as stream:
            stream.truncate(2**23)
        with tifffile.TiffFile(path) as file:
            place = file.pages[0].tags["TileByteCounts"].valueoffset
        content = bytearray(path.read_bytes())
        struct.pack_into("<I", content, place, 2**22)
        path.write_bytes(content)
        with open_slide(path) as opened, pytest.raises(TruncatedImageError, match="are needed"):
            opened.read_region(0, 0, 9, 9)

    def test_a_circular_chain_of_pages(self, path):
        content = bytearray(path.read_bytes())
        (first,) = struct.unpack_from("<I", content, 4)
        (count,) = struct.unpack_from("<H", content, first)
        struct.pack_into("<I", content, first + 2 + 12 * count, first)
        path.write_bytes(content)
        with pytest.raises(TruncatedImageError, match="circular"):
            open_slide(path)

    def test_deep_samples_and_stacks_are_rejected(self, tmp_path):
        path = tmp_path / "a.tif"
        for data in (np.zeros((512, 512), np.uint16), np.zeros((4, 512, 512), np.uint8)):
            tifffile.imwrite(path, data, tile=(256, 256), photometric="minisblack")
            with pytest.raises(NotAnImageError):
                tiled.open_tiled(path)

    @pytest.mark.parametrize(
        "data", [b"", b"II*\0", b"II+\0" + bytes(40), b"\xff\xd8\xff", b"text"]
    )
    @pytest.mark.parametrize("name", ["a.tif", "a.svs", "a.ndpi", "a.mrxs", "a.dcm"])
    def test_garbage_is_an_error(self, tmp_path, data, name):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(ImageError, match=name):
            open_slide(path)
        assert is_slide(path) == (name[2:] not in ("tif", "dcm"))

    def test_cut_slides_are_errors(self, folder, tmp_path):
        content = (folder / "svs.svs").read_bytes()
        path = tmp_path / "a.svs"
        for length in (20, len(content) // 2, len(content) - 50):
            path.write_bytes(content[:length])
            with pytest.raises(ImageError):
                open_slide(path)

    def test_a_missing_file_or_a_folder(self, tmp_path):
        for path in (tmp_path / "absent.tif", tmp_path / "absent.svs", tmp_path):
            with pytest.raises((UnreadableFileError, NotAnImageError)):
                open_slide(path)
            assert not is_slide(path)

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"downsample": 0.5}, "at least 1"),
            ({"downsample": float("nan")}, "at least 1"),
            ({"width": 0}, "at least 1 pixel"),
            ({"width": 10**6, "height": 10**6}, "up to 67,108,864 pixels"),
        ],
    )
    def test_regions_have_limits(self, folder, options, match):
        region = {"x": 0, "y": 0, "width": 9, "height": 9} | options
        with open_slide(folder / "plain.tif") as opened, pytest.raises(ValueError, match=match):
            opened.read_region(**region)


class TestOpenSlide:
    def test_after_a_damaged_tile_the_rest_is_read(self, folder, tmp_path, truth):
        path = tmp_path / "a.svs"
        content = bytearray((folder / "svs.svs").read_bytes())
        with tifffile.TiffFile(folder / "svs.svs") as file:
            start = file.pages[0].dataoffsets[5]
        content[start : start + 400] = bytes(400)
        path.write_bytes(content)
        with open_slide(path) as opened:
            for _ in range(2):
                with pytest.raises(TruncatedImageError, match=r"a\.svs: the slide is damaged"):
                    opened.read_region(600, 600, 100, 100)
                assert difference(opened.read_region(0, 0, 500, 500), truth[:500, :500]) < 3

    def test_without_it_the_error_has_the_command_that_installs_it(self, folder, monkeypatch):
        monkeypatch.setitem(sys.modules, "openslide", None)
        with pytest.raises(NotAnImageError, match=r"needs the module 'openslide'.* install "):
            open_slide(folder / "svs.svs")
        assert is_slide(folder / "svs.svs")
        assert is_slide(folder / "plain.tif"), "TIFF pyramids do not need it"
        assert not is_slide(folder / "dicom" / "0.dcm")

    def test_all_files_of_a_dicom_slide_are_one_series(self, folder):
        series = set()
        for name in ("0.dcm", "1.dcm"):
            with open_slide(folder / "dicom" / name) as opened:
                assert (opened.format, opened.width) == ("dicom", SIDE)
                series.add(opened.series)
        assert len(series) == 1
        assert all(series)


def test_threads_may_share_a_slide(folder, truth):
    places = [(x, y) for x in range(0, 1800, 300) for y in range(0, 1800, 300)]
    for kind in ("plain", "svs"):
        with open_slide(place(folder, kind)) as opened, ThreadPoolExecutor(4) as pool:
            found = pool.map(lambda p, one=opened: one.read_region(*p, 200, 200), places)
            for (x, y), region in zip(places, found, strict=True):
                assert difference(region, truth[y : y + 200, x : x + 200]) < 4


class TestOrdinaryImages:
    @pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "BMP"])
    def test_are_not_slides(self, tmp_path, name):
        path = tmp_path / f"a.{name.lower()}"
        path.write_bytes(save(scene(), name))
        assert not is_slide(path)

    def test_a_small_tiled_tiff_is_not_a_slide(self, tmp_path, noise):
        tifffile.imwrite(tmp_path / "a.tif", noise, tile=(256, 256))
        assert not is_slide(tmp_path / "a.tif")

    def test_a_tiff_too_large_to_read_is_a_slide(self, tmp_path, monkeypatch, noise):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, noise)
        monkeypatch.setattr("hematovision.images.slides.MAX_PIXELS", 1000)
        assert is_slide(path)
        with pytest.raises(TooManyPixelsError, match="whole slide with `hematovision analyze`"):
            images.read(path, max_pixels=1000)
