"""A lock says that somebody lives, and goes when he does."""

from hematovision.liveness import delete_held, hold, is_held, try_hold, try_hold_at


def test_a_file_is_held_until_it_is_closed_and_lookers_do_not_hold_it(tmp_path):
    path = tmp_path / "file"
    assert not is_held(path)
    with path.open("ab", buffering=0) as stream:
        assert not is_held(path)
        hold(stream)
        assert is_held(path)
        stream.write(b"still written")
        assert path.read_bytes() == b"still written"
    assert not is_held(path)


def test_only_one_gets_a_file_that_is_free(tmp_path):
    path = tmp_path / "file"
    with path.open("ab") as first, path.open("ab") as second:
        assert try_hold(first)
        assert is_held(path)
        assert not try_hold(second)
        first.close()
        assert try_hold(second)


def test_a_file_that_was_deleted_before_it_could_be_held_is_not_held(tmp_path):
    path = tmp_path / "file"
    with path.open("ab") as first, path.open("ab") as second:
        assert try_hold_at(path, first)
        assert not try_hold_at(path, second)
        delete_held(path, first)
        assert not path.exists()
        first.close()
        assert not try_hold_at(path, second)
        with path.open("ab") as third:
            assert not try_hold_at(path, second)
            assert try_hold_at(path, third)
