"""Files are whole or not there, whatever happens while they are written."""

import errno

import pytest

from tinyinfogan.storage import files


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_once_it_is_whole(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with files.replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        file.seek(0)
        assert file.read() == b"new"
    assert path.read_bytes() == b"new" and names(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError("bad"), OSError(5, "no", "b")])
def test_what_goes_wrong_leaves_the_old_file_alone(tmp_path, error):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        with files.replacing(path) as file:
            file.write(b"new")
            raise error
    assert path.read_bytes() == b"old" and names(tmp_path) == ["a"]


def test_a_file_that_fails_its_verification_is_not_put_in_place(tmp_path):
    def verify(temporary):
        assert temporary.read_bytes() == b"new"
        raise ValueError("not right")

    with pytest.raises(ValueError, match="not right"):
        with files.replacing(tmp_path / "a", verify) as file:
            file.write(b"new")
    assert names(tmp_path) == []


def test_errors_name_the_file_that_the_user_knows(tmp_path):
    path = tmp_path / "nowhere" / "a"
    with pytest.raises(FileNotFoundError) as caught:
        with files.replacing(path):
            pass
    assert caught.value.filename == str(path)


def test_a_full_disk_leaves_the_old_file_alone(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a"
    path.write_bytes(b"old")
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        with files.replacing(path) as file:
            file.write(b"new")
    assert path.read_bytes() == b"old" and names(tmp_path) == ["a"]


def test_only_temporaries_are_removed(tmp_path):
    with pytest.raises(KeyboardInterrupt), files.replacing(tmp_path / "a") as file:
        kept = [".a.tmp", ".b.tmp", ".hidden", ".notes.abc.tmp", "a", "b.tmp"]
        for name in kept:
            (tmp_path / name).write_bytes(b"")
        assert len(names(tmp_path)) == 1 + len(kept)
        files.remove_temporaries(tmp_path)
        assert names(tmp_path) == kept
        assert file.write(b"x")
        raise KeyboardInterrupt


def test_lines_are_appended(tmp_path):
    for line in (b"one\n", b"two\n"):
        files.append(tmp_path / "log", line)
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"
