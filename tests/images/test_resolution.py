"""The width of a pixel, from the metadata of TIFF files."""

import os

import numpy as np
import pytest
import tifffile

from hematovision import images
from image_files import save, scene

PIXELS = np.full((64, 96, 3), 200, np.uint8)


def ome(tmp_path, **metadata):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, PIXELS, metadata={"axes": "YXS", **metadata})
    return path


def physical(x, unit, y=None):
    return {
        "PhysicalSizeX": x,
        "PhysicalSizeXUnit": unit,
        "PhysicalSizeY": x if y is None else y,
        "PhysicalSizeYUnit": unit,
    }


class TestOme:
    @pytest.mark.parametrize(
        ("size", "unit"), [(0.25, "µm"), (250, "nm"), (0.00025, "mm"), (2500, "Å")]
    )
    def test_the_physical_size_in_any_unit(self, tmp_path, size, unit):
        path = ome(tmp_path, **physical(size, unit))
        assert images.um_per_px(path) == pytest.approx(0.25)
        assert images.um_per_px(path.read_bytes()) == pytest.approx(0.25)

    def test_micrometres_are_the_default(self, tmp_path):
        path = ome(tmp_path, PhysicalSizeX=0.1, PhysicalSizeY=0.102)
        assert images.um_per_px(path) == pytest.approx(0.101)

    @pytest.mark.parametrize(
        "size",
        [{}, physical(0.25, "pixel"), physical(0.25, "mm"), physical(0.25, "µm", 0.5)],
        ids=["none", "pixels", "no microscope", "not square"],
    )
    def test_other_sizes_are_not_used(self, tmp_path, size):
        assert images.um_per_px(ome(tmp_path, **size)) is None


class TestOthers:
    def write(self, tmp_path, **options):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, PIXELS, **options)
        return images.um_per_px(path)

    def test_a_resolution_per_centimetre(self, tmp_path):
        found = self.write(tmp_path, resolution=(40_000, 40_000), resolutionunit="CENTIMETER")
        assert found == pytest.approx(0.25)

    def test_a_resolution_per_inch(self, tmp_path):
        found = self.write(tmp_path, resolution=(254_000, 254_000), resolutionunit="INCH")
        assert found == pytest.approx(0.1)

    @pytest.mark.parametrize("per_inch", [72, 96, 300, 600])
    def test_a_resolution_for_printing_is_not_used(self, tmp_path, per_inch):
        options = {"resolution": (per_inch, per_inch), "resolutionunit": "INCH"}
        assert self.write(tmp_path, **options) is None

    def test_imagej_states_the_unit(self, tmp_path):
        options = {"imagej": True, "resolution": (5.0, 5.0)}
        assert self.write(tmp_path, metadata={"unit": "micron"}, **options) == pytest.approx(0.2)
        assert self.write(tmp_path, metadata={"unit": "\\u00B5m"}, **options) == pytest.approx(0.2)
        assert self.write(tmp_path, metadata={"unit": "inch"}, **options) is None

    def test_aperio_states_micrometres_per_pixel(self, tmp_path):
        text = "Aperio Image\r\n100x100|AppMag = 40|MPP = 0.2527"
        assert self.write(tmp_path, description=text) == pytest.approx(0.2527)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
    def test_a_pipe_has_none_and_is_not_opened(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.tif")
        assert images.um_per_px(tmp_path / "pipe.tif") is None

    @pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF"])
    def test_images_without_metadata_have_none(self, name):
        assert images.um_per_px(save(scene(), name)) is None

    @pytest.mark.parametrize(
        "data", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"II*\0" + bytes(99)]
    )
    def test_a_damaged_file_has_none(self, tmp_path, data):
        path = tmp_path / "a.tif"
        path.write_bytes(data)
        assert images.um_per_px(data) is None
        assert images.um_per_px(path) is None
        assert images.um_per_px(tmp_path / "absent.tif") is None
