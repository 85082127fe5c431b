"""Files are whole or absent, whatever happens while they are written."""

import errno
import hashlib
import os

import pytest

from viva.base import files
from viva.base.errors import Refusal
from viva.base.seed import derive, stream


def test_a_failed_write_leaves_what_was_there(tmp_path):
    target = tmp_path / "a.txt"
    files.write_text(target, "old")
    with pytest.raises(RuntimeError), files.whole_file(target) as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert target.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_folder_leaves_what_was_there(tmp_path):
    target = tmp_path / "f"
    with files.whole_folder(target) as new:
        (new / "x").write_text("old")
    with pytest.raises(RuntimeError), files.whole_folder(target) as new:
        (new / "x").write_text("new")
        raise RuntimeError
    assert (target / "x").read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["f"]
    with files.whole_folder(target) as new:
        (new / "y").write_text("newer")
    assert [p.name for p in target.iterdir()] == ["y"] and [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_full_disk_is_a_sentence(tmp_path, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "sync", full)
    with pytest.raises(Refusal, match=r"the disk must have room to write .*a\.txt, but found .* MiB free"):
        files.write_text(tmp_path / "a.txt", "x")
    assert [p.name for p in tmp_path.iterdir()] == []


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert files.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_streams_are_pure_functions_of_seed_and_name():
    assert stream(1, "a").random() == stream(1, "a").random()
    assert len({derive(s, n) for s in range(3) for n in ("a", "b", 1)}) == 9
    assert derive(0, "a", "b") != derive(0, "ab")


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").write_text("kept")
    real = os.replace

    def refuses(source, target):
        if ".tmp" in str(source):
            raise OSError(errno.EIO, "no")
        real(source, target)

    monkeypatch.setattr(files.os, "replace", refuses)
    with pytest.raises(Refusal, match="must be a place that can be written"), files.whole_folder(tmp_path / "a") as new:
        (new / "new").write_text("never seen")
    assert [(file.name, file.read_text()) for file in (tmp_path / "a").iterdir()] == [("old", "kept")]


def test_a_reader_finds_a_whole_folder_at_every_instant(tmp_path, monkeypatch):
    """Before the new folder takes the place, the old one stands, whole, under another name."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("old")
    seen, real = [], os.replace

    def watched(source, target):
        real(source, target)
        seen.append({file.read_text() for file in tmp_path.glob("*/file")})

    monkeypatch.setattr(files.os, "replace", watched)
    with files.whole_folder(tmp_path / "a") as new:
        (new / "file").write_text("new")
    assert len(seen) >= 2 and all("old" in found for found in seen)
    assert [file.read_text() for file in tmp_path.glob("a/file")] == ["new"]
