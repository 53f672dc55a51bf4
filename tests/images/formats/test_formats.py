"""HEIC, AVIF, JPEG 2000 and DICOM are read; other formats are rejected by name."""

import importlib.util
import io
import logging
import struct
import subprocess
import sys
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pydicom
import pytest
from PIL import Image, features
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from hematovision import images
from hematovision.errors import NotAnImageError, TooManyPixelsError, TruncatedImageError
from image_files import HEIC, TURNED_HEIC, exif, jpeg, noise, save, scene

GREYS = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32)


def avif(image, **options):
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    return save(image, "AVIF", quality=90, subsampling="4:4:4", **options)


def jpeg2000(image, **options):
    if not features.check("jpg_2000"):
        pytest.skip("this Pillow has no JPEG 2000")
    return save(image, "JPEG2000", **options)


def dicom(samples, *, syntax=ExplicitVRLittleEndian, frames=None, data=None, **tags):
    """Write samples (H, W) or (H, W, 3) as DICOM; `tags` are added or replace what they imply."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = pydicom.uid.VLMicroscopicImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    header = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    header.Rows, header.Columns = samples.shape[:2]
    header.SamplesPerPixel = 1 if samples.ndim == 2 else 3
    header.PhotometricInterpretation = "MONOCHROME2" if samples.ndim == 2 else "RGB"
    if samples.ndim == 3:
        header.PlanarConfiguration = 0
    header.BitsAllocated = header.BitsStored = samples.dtype.itemsize * 8
    header.HighBit = header.BitsStored - 1
    header.PixelRepresentation = int(samples.dtype.kind == "i")
    if frames is not None:
        header.NumberOfFrames = frames
    for name, value in tags.items():
        setattr(header, name, value)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    header.PixelData = data or samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    header["PixelData"].VR = "OB" if data or samples.dtype.itemsize == 1 else "OW"
    if data:
        header["PixelData"].is_undefined_length = True
    buffer = io.BytesIO()
    pydicom.dcmwrite(
        buffer, header, enforce_file_format=True,
        little_endian=syntax != ExplicitVRBigEndian, implicit_vr=syntax == ImplicitVRLittleEndian,
    )  # fmt: skip
    return buffer.getvalue()


def near(image, expected, by=6):
    assert image.shape == expected.shape
    assert abs(image.astype(int) - expected).max() <= by


def cut_anywhere(data):
    rng = np.random.default_rng(0)
    for size in {*rng.integers(1, len(data), 40).tolist(), len(data) - 1}:
        with pytest.raises((TruncatedImageError, NotAnImageError)):
            images.read(data[:size])


class TestHeic:
    def test_it_is_read_upright(self):
        near(images.read(HEIC), scene(64, 96))
        near(images.read(TURNED_HEIC), np.rot90(scene(64, 96), -1))

    def test_one_cut_anywhere_is_rejected(self):
        cut_anywhere(HEIC)

    def test_its_size_is_checked_before_it_is_decoded(self, monkeypatch):
        monkeypatch.setattr("pi_heif.as_plugin.HeifImageFile._open", None)
        place = HEIC.index(b"ispe") + 8
        large = HEIC[:place] + struct.pack(">II", 60_000, 60_000) + HEIC[place + 8 :]
        with pytest.raises(TooManyPixelsError, match="60000 x 60000"):
            images.read(large)

    def test_metadata_that_would_crash_the_process_is_ignored(self):
        assert b"Exif" in TURNED_HEIC
        unusual = TURNED_HEIC.replace(b"Exif\0", b"Ex\xfff\0", 1)
        np.testing.assert_array_equal(images.read(unusual), images.read(TURNED_HEIC))

    def test_a_video_is_not_an_image(self):
        video = struct.pack(">I", 24) + b"ftypisom\0\0\0\0mp42isom" + struct.pack(">I", 8) + b"moov"
        with pytest.raises(NotAnImageError, match=r"ISO media file \(isom, mp42\)"):
            images.read(video)

    def test_boxes_are_counted(self):
        with pytest.raises(TruncatedImageError, match="more than 16,384 boxes"):
            images.read(HEIC + b"\0\0\0\x08free" * 1_000_000)


class TestAvif:
    def test_it_is_read_upright_and_on_white(self):
        near(images.read(avif(scene(64, 96))), scene(64, 96))
        turned = avif(scene(64, 96), exif=b"Exif\0\0" + exif(6))
        near(images.read(turned), np.rot90(scene(64, 96), -1))
        alpha = np.where(np.arange(96) < 48, 255, 0).astype(np.uint8)
        rgba = np.dstack([scene(64, 96), np.broadcast_to(alpha, (64, 96))])
        laid = images.read(avif(rgba))
        near(laid[:, :40], scene(64, 96)[:, :40])
        near(laid[:, 56:], np.full((64, 40, 3), 255))

    def test_one_cut_anywhere_is_rejected(self):
        cut_anywhere(avif(noise(40, 50, 3)))

    def test_without_its_library_it_is_rejected_by_name(self, monkeypatch):
        data = avif(scene())
        monkeypatch.setattr("PIL.features.check", lambda _: False)
        with pytest.raises(NotAnImageError, match="AVIF image, which this installation"):
            images.read(data)


class TestJpeg2000:
    @pytest.mark.parametrize("options", [{}, {"no_jp2": True}, {"tile_size": (16, 16)}])
    def test_it_is_read_and_one_cut_anywhere_is_rejected(self, options):
        data = jpeg2000(noise(40, 50, 3), **options)
        np.testing.assert_array_equal(images.read(data), noise(40, 50, 3))
        cut_anywhere(data)

    def test_one_cut_and_ended_is_rejected(self):
        data = jpeg2000(noise(40, 50, 3), no_jp2=True)
        with pytest.raises(TruncatedImageError, match="JPEG 2000 ends early"):
            images.read(data[: len(data) * 7 // 10] + b"\xff\xd9")

    def test_16_bits_are_scaled_by_their_range(self):
        greys = GREYS * 85
        read = images.read(jpeg2000(greys))
        np.testing.assert_array_equal(read[..., 0], (greys * 510.0 // 65535 + 1) // 2)

    def test_its_size_is_checked_before_it_is_decoded(self):
        data = bytearray(jpeg2000(scene(), no_jp2=True))
        data[8:16] = struct.pack(">II", 60_000, 60_000)
        with pytest.raises(TooManyPixelsError, match="60000 x 60000"):
            images.read(bytes(data))


class TestDicom:
    @pytest.mark.parametrize(
        "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
    )
    def test_colours_and_greys_are_read(self, syntax):
        np.testing.assert_array_equal(images.read(dicom(scene(), syntax=syntax)), scene())
        read = images.read(dicom(GREYS * 85, syntax=syntax))
        np.testing.assert_array_equal(read[..., 1], (GREYS * 85 * 510.0 // 65535 + 1) // 2)

    def test_planes_of_colours_are_joined(self):
        planes = np.ascontiguousarray(scene().transpose(2, 0, 1)).reshape(24, 32, 3)
        data = dicom(planes, PlanarConfiguration=1)
        np.testing.assert_array_equal(images.read(data), scene())

    def test_ybr_becomes_rgb(self):
        ybr = np.asarray(Image.fromarray(scene()).convert("YCbCr"))
        near(images.read(dicom(ybr, PhotometricInterpretation="YBR_FULL")), scene(), by=2)

    def test_the_stored_bits_give_the_range(self):
        read = images.read(dicom(GREYS, BitsStored=12, HighBit=11))
        np.testing.assert_array_equal(read[..., 0], (GREYS * 510.0 // 4095 + 1) // 2)
        shifted = images.read(dicom(GREYS << 4, BitsStored=12, HighBit=15))
        np.testing.assert_array_equal(shifted, read)

    def test_monochrome1_has_the_lowest_white(self):
        data = dicom(GREYS, BitsStored=10, HighBit=9, PhotometricInterpretation="MONOCHROME1")
        plain = images.read(dicom(GREYS, BitsStored=10, HighBit=9))
        np.testing.assert_array_equal(images.read(data), 255 - plain)

    def test_the_window_is_black_to_white_after_rescaling(self):
        tags = {"WindowCenter": 40, "WindowWidth": 81, "RescaleSlope": 2, "RescaleIntercept": -1024}
        signed = np.array([[-30, 500, 512, 522, 532, 542, 552, 562, 600]], np.int16)
        read = images.read(dicom(signed, **tags))
        # 2 * 512 - 1024 = 0 is the lower end: 40 - 0.5 - (81 - 1) / 2.
        expected = [(2 * int(v) - 1024 - 39.5) / 80 + 0.5 for v in signed[0]]
        greys = [int(min(max(place, 0), 1) * 255 + 0.5) for place in expected]
        assert read[0, :, 0].tolist() == greys
        assert greys[1] == 0
        assert greys[-1] == 255

    def test_a_palette_is_looked_up(self):
        table = noise(4, 3)
        tags = {"PhotometricInterpretation": "PALETTE COLOR"}
        for i, colour in enumerate(("Red", "Green", "Blue")):
            tags[f"{colour}PaletteColorLookupTableDescriptor"] = [4, 10, 16]
            deep = (table[:, i].astype("<u2") << 8) + 7
            tags[f"{colour}PaletteColorLookupTableData"] = deep.astype("<u2").tobytes()
        numbers = np.array([[9, 10, 11], [12, 13, 200]], np.uint8)
        expected = table[[[0, 0, 1], [2, 3, 3]]]
        np.testing.assert_array_equal(images.read(dicom(numbers, **tags)), expected)

    @pytest.mark.parametrize("marker", [b"", b"\xff\xee\0\x0cAdobe\0\0\0\0\0"])  # too short
    @pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL_422"])
    def test_a_jpeg_inside_has_the_colours_of_the_header(self, photometric, marker):
        inner = jpeg(scene(64, 96), keep_rgb=photometric == "RGB")
        start = inner.index(b"\xff\xdb")  # without JFIF and Adobe markers, as devices write it
        inner = b"\xff\xd8" + marker + inner[start:]
        if photometric == "RGB":
            inner = inner.replace(b"\x03R\x11\0G\x11\0B\x11\0", b"\x03\1\x11\0\2\x11\0\3\x11\0")
            inner = inner.replace(b"\x03R\0G\0B\0", b"\x03\1\0\2\0\3\0")
        data = dicom(
            scene(64, 96), syntax=pydicom.uid.JPEGBaseline8Bit, data=encapsulate([inner]),
            PhotometricInterpretation=photometric,
        )  # fmt: skip
        near(images.read(data), scene(64, 96))

    def test_jpeg_2000_and_run_lengths_inside(self):
        whole = jpeg2000(scene(64, 96), no_jp2=True)
        lossless = pydicom.uid.JPEG2000Lossless
        data = dicom(scene(64, 96), syntax=lossless, data=encapsulate([whole]))
        np.testing.assert_array_equal(images.read(data), scene(64, 96))
        for samples in (scene(), GREYS):
            plain = pydicom.dcmread(io.BytesIO(dicom(samples)))
            plain.compress(pydicom.uid.RLELossless)
            buffer = io.BytesIO()
            plain.save_as(buffer)
            np.testing.assert_array_equal(
                images.read(buffer.getvalue()), images.read(dicom(samples))
            )

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"frames": 3}, "DICOM file of 3 frames"),
            ({"PixelRepresentation": 1}, "signed samples without a window"),
            ({"BitsAllocated": 32}, "in 32; expected up to 16"),
            ({"PhotometricInterpretation": "HSV"}, "1 samples per pixel in HSV"),
        ],
    )
    def test_variants_that_cannot_be_decoded_correctly_are_rejected(self, options, reason):
        with pytest.raises(NotAnImageError, match=reason):
            images.read(dicom(GREYS, **options))

    def test_one_cut_anywhere_is_rejected(self):
        cut_anywhere(dicom(scene()))
        cut_anywhere(dicom(GREYS))

    def test_its_size_is_checked_before_it_is_decoded(self):
        with pytest.raises(TooManyPixelsError, match="60000 x 60000"):
            images.read(dicom(GREYS, Rows=60_000, Columns=60_000))

    def test_elements_are_counted_and_nested_ones_skipped(self):
        whole = dicom(scene(), ReferencedImageSequence=[nested(3)])
        np.testing.assert_array_equal(images.read(whole), scene())
        start = whole.index(b"\x28\0\x02\0US")
        empty = struct.pack("<HH2sH", 0x28, 1, b"LO", 0)
        with pytest.raises(TruncatedImageError, match="more than 65,536 parts"):
            images.read(whole[:start] + empty * 1_000_000 + whole[start:])
        sequence = struct.pack("<HH2sHI", 0x28, 1, b"SQ", 0, 2**32 - 1)
        item = struct.pack("<HHI", 0xFFFE, 0xE000, 2**32 - 1)
        with pytest.raises(TruncatedImageError, match="DICOM header cannot be read"):
            images.read(whole[:start] + (sequence + item) * 500_000 + whole[start:])

    def test_a_deflated_file_is_not_inflated(self):
        data = dicom(scene(), syntax=pydicom.uid.DeflatedExplicitVRLittleEndian)
        with pytest.raises(NotAnImageError, match="deflated"):
            images.read(data)

    def test_pixels_that_end_early_are_rejected(self):
        short = dicom(scene(), Rows=25)
        with pytest.raises(TruncatedImageError, match="DICOM pixels cannot be read"):
            images.read(short)
        inner = jpeg(scene(64, 96))
        ended = inner[: len(inner) * 6 // 10] + b"\xff\xd9"
        data = dicom(
            scene(64, 96), syntax=pydicom.uid.JPEGBaseline8Bit, data=encapsulate([ended]),
            PhotometricInterpretation="YBR_FULL_422",
        )  # fmt: skip
        with pytest.raises(TruncatedImageError):
            images.read(data)

    def test_bytes_after_the_pixels_are_ignored(self):
        for end in (bytes(1_000_000), b"\xff" * 999, b"\0\0\0\0UT\0\0\1", dicom(GREYS)):
            np.testing.assert_array_equal(images.read(dicom(scene()) + end), scene())

    @pytest.mark.parametrize("control", [b"\x81\0", b"\x80"])
    def test_run_lengths_beyond_the_image_are_not_unpacked(self, control):
        frame = struct.pack("<16I", 3, 64, 64, 64, *[0] * 12) + control * 5_000_000
        data = dicom(scene(), syntax=pydicom.uid.RLELossless, data=encapsulate([frame]))
        tracemalloc.start()
        with pytest.raises(TruncatedImageError, match="more run lengths than its size needs"):
            images.read(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 * len(data)

    @pytest.mark.parametrize("nests", [False, True])
    def test_character_sets_are_counted_by_their_bytes(self, nests):
        whole = dicom(scene())
        start = whole.index(b"\x28\0\x02\0US")
        sets = b"a\\" * 32
        element = struct.pack("<HH2sH", 8, 5, b"CS", len(sets)) + sets
        if nests:
            begin = struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 2**32 - 1)
            item = struct.pack("<HHI", 0xFFFE, 0xE000, 2**32 - 1)
            end = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
            hostile = begin + (item + element + end) * 50_000
        else:
            hostile = element * 50_000
        with pytest.raises(TruncatedImageError, match="more than 65,536 parts"):
            images.read(whole[:start] + hostile + whole[start:])

    def test_a_value_that_is_far_too_long_is_not_converted(self):
        whole = dicom(GREYS, syntax=ImplicitVRLittleEndian)
        start = whole.index(struct.pack("<HHI", 0x28, 2, 2))
        window = struct.pack("<HHI", 0x28, 0x1050, 20_000_000) + b"1\\" * 10_000_000
        with pytest.raises(TruncatedImageError, match="DICOM header cannot be read"):
            images.read(whole[:start] + window + whole[start:])

    def test_an_unusable_window_is_ignored(self):
        plain = images.read(dicom(GREYS, BitsStored=12, HighBit=11))
        tags = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 40, "WindowWidth": 0}
        np.testing.assert_array_equal(images.read(dicom(GREYS, **tags)), plain)

    def test_a_slope_without_an_intercept_is_applied(self):
        tags = {"WindowCenter": 40, "WindowWidth": 81}
        read = images.read(dicom(GREYS, RescaleSlope=2, **tags))
        both = images.read(dicom(GREYS, RescaleSlope=2, RescaleIntercept=0, **tags))
        np.testing.assert_array_equal(read, both)
        assert (read != images.read(dicom(GREYS, **tags))).any()

    def test_nothing_is_printed_and_global_state_is_restored(self, caplog, capfd):
        whole = dicom(GREYS, WindowCenter="40", WindowWidth="81", RescaleSlope="2")
        hostile = [whole + bytes(2), whole.replace(b"2 ", b"x ", 1)]
        start = whole.index(b"\x28\0\x02\0US")
        wrong_set = struct.pack("<HH2sH", 8, 5, b"CS", 6) + b"nobody"
        hostile.append(whole[:start] + wrong_set + whole[start:])
        runs = dicom(scene(), syntax=pydicom.uid.RLELossless, data=encapsulate([bytes(64)]))
        hostile.append(runs)
        before = list(warnings.filters), logging.getLogger("pydicom").propagate
        with caplog.at_level(logging.DEBUG), ThreadPoolExecutor(4) as threads:
            assert len(list(threads.map(outcome, hostile * 20))) == 80
        assert caplog.records == []
        assert capfd.readouterr() == ("", "")
        assert (list(warnings.filters), logging.getLogger("pydicom").propagate) == before

    def test_pydicom_is_imported_for_dicom_only(self):
        code = (
            "import io, sys; from PIL import Image; from hematovision import images\n"
            "stream = io.BytesIO(); Image.new('RGB', (4, 4)).save(stream, 'PNG')\n"
            "images.read(stream.getvalue()); sys.exit('pydicom' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
        assert done.returncode == 0


def outcome(data):
    """Return the shape of what is read, or the class of the error."""
    try:
        return images.read(data).shape
    except (NotAnImageError, TruncatedImageError) as error:
        return type(error)


@pytest.mark.parametrize(("module", "kind"), [("pi_heif", "HEIC"), ("pydicom", "DICOM")])
def test_without_the_extra_the_error_names_what_to_install(monkeypatch, module, kind):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if name == module else find(name)
    )
    with pytest.raises(NotAnImageError, match=rf"{kind} image.*'{module}'.*pip.* install"):
        images.read({"HEIC": HEIC, "DICOM": dicom(scene())}[kind])


def nested(depth):
    """A data set that holds sequences and, at the bottom, what looks like pixels."""
    inner = pydicom.Dataset()
    inner.Rows = inner.Columns = 7
    inner.PhotometricInterpretation = "RGB"
    inner.PixelData = bytes(6)
    inner["PixelData"].VR = "OB"
    for _ in range(depth):
        outer = pydicom.Dataset()
        outer.IconImageSequence = [inner]
        outer["IconImageSequence"].is_undefined_length = True
        inner.is_undefined_length_sequence_item = True
        inner = outer
    return inner


OTHERS = {
    "a.czi": ("ZISRAWFILE", "Zeiss image"),
    "b.nd2": (b"\xda\xce\xbe\x0a", "Nikon"),
    "c.lif": (b"\x70\0\0\0", "Leica"),
    "d.oib": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Olympus"),
    "e.psd": (b"8BPS", "Photoshop"),
    "f.pdf": (b"%PDF-1.7", "PDF"),
    "g.svg": (b"<svg", "vector drawing"),
    "h.jxl": (b"\xff\x0a", "JPEG XL"),
    "i.xcf": (b"gimp xcf ", "GIMP"),
    "j.raw": (b"", "raw data"),
    "k.isyntax": (b"", "a slide"),
    "l.CR3": (b"", "raw image"),
}


class TestOthers:
    @pytest.mark.parametrize("name", OTHERS)
    def test_they_are_rejected_by_name_with_advice(self, name):
        start, format_name = OTHERS[name]
        content = (start.encode() if isinstance(start, str) else start) + bytes(100)
        with pytest.raises(NotAnImageError, match=f"{format_name}.*Export it as TIFF or PNG"):
            images.read(content, name=name)
        if start:
            with pytest.raises(NotAnImageError, match=format_name):
                images.read(content, name="cell.png")

    @pytest.mark.parametrize("name", ["a.svs", "b.NDPI", "c.mrxs", "d.scn"])
    def test_a_slide_is_for_analyze(self, name):
        with pytest.raises(NotAnImageError, match=r"whole slide.*hematovision analyze"):
            images.read(save(scene(), "TIFF"), name=name)

    @pytest.mark.parametrize("name", ["cell.NEF", "slide.ndpis", "photo.dng", "slide.vsi"])
    def test_a_preview_inside_a_raw_image_or_slide_is_not_read(self, name):
        with pytest.raises(NotAnImageError, match="which HematoVision cannot read"):
            images.read(save(scene(), "TIFF"), name=name)

    def test_an_image_under_a_wrong_name_is_read(self):
        np.testing.assert_array_equal(images.read(save(scene(), "PNG"), name="a.psd"), scene())

    def test_folders_list_them_without_other_files(self, tmp_path):
        names = ("1.png", "2.czi", "3.heic", "4.dcm", "5.jp2", "6.avif", "7.lif")
        for name in (*names, "notes.txt", "cells.csv", "boxes.xml", "coco.json", ".hidden.czi"):
            (tmp_path / name).write_bytes(b"x")
        assert [path.name for path in images.iter_images([tmp_path])] == list(names)
        assert [p.name for p in images.find_images([tmp_path])] == [
            *("1.png", "3.heic", "4.dcm", "5.jp2", "6.avif")
        ]
        assert images.unsupported_format(tmp_path / "2.czi") == "a Zeiss image (CZI)"
        assert images.unsupported_format("notes.txt") is None
