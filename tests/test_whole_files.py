"""Whole or not at all: whatever ends the writing, the old file stands, and nothing lies about."""

from __future__ import annotations

import os

import pytest

from hyper_bids.errors import OutputNotWritable
from hyper_bids.whole_files import replacing


@pytest.mark.parametrize("durable", [False, True])
def test_the_new_content_takes_the_place_of_the_old(tmp_path, monkeypatch, durable):
    path, synced = tmp_path / "folder" / "file", []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size) or real(handle))
    for content in ("old", "new"):
        with replacing(path, durable=durable) as temporary:
            temporary.write_text(content)
            assert temporary.parent == path.parent
        assert path.read_text() == content
    assert synced == ([3, 3] if durable else []), "the whole content is on the disk before it takes the place"
    before = os.umask(0o027)
    try:
        with replacing(path, durable=durable):
            pass
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640 and os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ValueError])
def test_an_interrupted_writer_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("ne")
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_what_the_disk_refuses_is_said_and_other_errors_are_not_taken_for_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputNotWritable, match=r"inside: .*the same command"), replacing(tmp_path / "file/inside"):
        pass
    with pytest.raises(OutputNotWritable, match="name too long"), replacing(tmp_path / "a" / ("n" * 300)) as temporary:
        temporary.write_text("x")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "copy") as temporary:
        temporary.write_bytes((tmp_path / "source").read_bytes())
    assert sorted(os.listdir(tmp_path)) == ["a", "file"] and os.listdir(tmp_path / "a") == []
