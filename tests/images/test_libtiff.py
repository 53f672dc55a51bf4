"""The libtiff inside Pillow is asked what it can decode."""

from hematovision.images import libtiff


def test_what_is_built_in_is_known():
    assert libtiff.can_decode(1)
    assert libtiff.can_decode(5)


def test_where_libtiff_cannot_be_asked_every_compression_is_tried(monkeypatch):
    monkeypatch.setattr(libtiff, "_library", lambda: None)
    assert libtiff.can_decode(50000)


def test_a_pillow_without_a_libtiff_of_its_own_is_no_error(monkeypatch):
    def missing(_):
        raise OSError

    monkeypatch.setattr("ctypes.CDLL", missing)
    assert libtiff._library.__wrapped__() is None
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    assert libtiff._library.__wrapped__() is None
