"""Messages about files show bytes without Python syntax."""

import io
import struct
import zlib

import pytest
from PIL import Image

from hematovision import images
from hematovision.errors import ImageError, TruncatedImageError
from hematovision.images.formats.source import shown_bytes
from image_files import HEIC


def png_with(kind: bytes, checksum: int = 0) -> bytes:
    """A PNG with one more chunk before its end."""
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "PNG")
    whole = stream.getvalue()
    chunk = struct.pack(">I", 0) + kind + struct.pack(">I", zlib.crc32(kind) ^ checksum)
    return whole[:-12] + chunk + whole[-12:]


# The first boxes of an AVIF, and a truncated box.
AVIF = b"\0\0\0\x14ftypavif\0\0\0\0avif" + b"\0\0\0\x40mdat" + bytes(56)


def test_text_is_quoted_and_other_bytes_are_hexadecimal():
    assert shown_bytes(b"{\\rtf1}") == '"{\\rtf1}"'
    assert shown_bytes(b"\xcf\xfa\xed\xfe") == "the bytes cf fa ed fe"
    assert shown_bytes(b"a\n") == "the bytes 61 0a"
    assert shown_bytes(b"") == "the bytes "


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"<html><body>", 'begins with "<html><b"'),
        (b"\xcf\xfa\xed\xfe\x07\0\0\1", "begins with the bytes cf fa ed fe 07 00 00 01"),
        (b"{\\rtf1}\n%\xe2", "begins with the bytes 7b 5c"),
        (png_with(b"ABCD"), 'unknown chunk "ABCD"'),
        (png_with(b"tEXt", checksum=1), 'chunk "tEXt" fails'),
        (AVIF[:-40], 'its box "mdat" extends to byte'),
        (AVIF[:20] + b"\0\0\0\2free", 'the box "free" at byte 20 is shorter'),
        (png_with(b"t\xffXt", checksum=1), "chunk the bytes 74 ff 58 74 fails"),
    ],
)
def test_messages_show_no_python(content: bytes, shown: str):
    with pytest.raises(ImageError) as rejected:
        images.read(content)
    assert shown in rejected.value.reason
    assert "\n" not in rejected.value.reason
    assert "b'" not in rejected.value.reason
    assert "\\x" not in rejected.value.reason


@pytest.mark.parametrize(
    "content", [HEIC[:-60], HEIC.replace(b"iloc", b"skip"), HEIC.replace(b"pitm", b"skip")]
)
def test_the_error_of_a_damaged_heic_is_one_line_with_advice(content: bytes):
    pytest.importorskip("pi_heif")
    with pytest.raises(TruncatedImageError) as rejected:
        images.read(content)
    assert "\n" not in rejected.value.reason
    assert rejected.value.reason.endswith("Copy the file again from its source, or leave it out.")


def test_a_decoders_message_becomes_one_line(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise ValueError("Unexpected end of file:\n Extent\n")

    monkeypatch.setattr("hematovision.images.decoding._shallow", fail)
    with pytest.raises(TruncatedImageError, match=r"\(Unexpected end of file: Extent\)"):
        images.read(png_with(b"abCD"))
