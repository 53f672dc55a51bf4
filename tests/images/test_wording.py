"""Bytes of files in messages, for people who know no Python."""

import io
import struct
import zlib

import pytest
from PIL import Image

from hematovision import images
from hematovision.errors import ImageError
from hematovision.images.formats.wording import shown_bytes


def png_with(kind: bytes, checksum: int = 0) -> bytes:
    """A PNG with one more chunk before its end."""
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "PNG")
    whole = stream.getvalue()
    chunk = struct.pack(">I", 0) + kind + struct.pack(">I", zlib.crc32(kind) ^ checksum)
    return whole[:-12] + chunk + whole[-12:]


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
        (png_with(b"t\xffXt", checksum=1), "chunk the bytes 74 ff 58 74 fails"),
    ],
)
def test_refusals_show_no_python(content: bytes, shown: str):
    with pytest.raises(ImageError) as refused:
        images.read(content)
    assert shown in refused.value.reason
    assert "b'" not in refused.value.reason
    assert "\\x" not in refused.value.reason
