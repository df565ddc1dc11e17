"""Finding and verifying files: what is right is found anywhere, what is wrong is named and left alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cosnorm.data import DatasetError, fetch, load, status

from .conftest import IMAGES, LABELS, OFFICIAL, PIXELS, PLAIN, Tiny


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("folder", ["tiny", ".", "TINY/raw"])
def test_found_in_the_data_folder(tiny: Tiny, folder: str) -> None:
    tiny.register("good")
    tiny.place(tiny.data / folder)
    np.testing.assert_array_equal(load("tiny").train_inputs, PIXELS)
    assert fetch("tiny") == tiny.data / folder
    assert tiny.mirrors.requests == []
    assert not tiny.cache.parent.exists()


def test_found_uncompressed(tiny: Tiny) -> None:
    """The same content in another form gives the same dataset, and the same figure in the records."""
    tiny.register()
    for name, content in PLAIN.items():
        (tiny.data / name).write_bytes(content)
    uncompressed = load("tiny")
    for name, content in OFFICIAL.items():
        (tiny.data / name).write_bytes(content)
    compressed = load("tiny")
    np.testing.assert_array_equal(uncompressed.train_inputs, compressed.train_inputs)
    assert uncompressed.sha256 == compressed.sha256


def test_found_in_the_cache(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.register()
    tiny.place(tiny.cache)
    assert fetch("tiny") == tiny.cache
    monkeypatch.delenv("COSNORM_DATA")
    assert fetch("tiny") == tiny.cache


def test_files_in_two_places(tiny: Tiny) -> None:
    tiny.register()
    tiny.place(tiny.cache)
    (tiny.cache / IMAGES).rename(tiny.data / IMAGES)
    load("tiny")
    found = status("tiny")
    assert found.state == "ready"
    assert str(tiny.cache) in found.detail
    assert str(tiny.data) in found.detail


def flip(content: bytes) -> bytes:
    return content[:20] + bytes([content[20] ^ 1]) + content[21:]


DAMAGE = [
    (flip, "damaged: its sha256 is"),
    (lambda content: content[:-1], r"truncated: it has \d+ of \d+ bytes"),
    (lambda content: b"", r"truncated: it has 0 of \d+ bytes"),
    (lambda content: content + b"\0", "not the official file: it has"),
    (lambda content: b"\n<html>403</html>", "web page of 17 bytes"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_a_damaged_file_of_the_user(tiny: Tiny, damage: Callable[[bytes], bytes], message: str) -> None:
    """An error that names the file and how to mend it; nothing is changed, moved or downloaded."""
    source = tiny.register("good")
    path = tiny.place(tiny.data / "tiny") / LABELS
    path.write_bytes(damage(path.read_bytes()))
    before = snapshot(tiny.data)
    with pytest.raises(DatasetError, match=message) as caught:
        load("tiny")
    text = str(caught.value)
    assert str(path) in text
    assert source.files[1].sha256 in text
    assert tiny.mirrors.base("good") in text
    assert snapshot(tiny.data) == before
    assert tiny.mirrors.requests == []
    found = status("tiny")
    assert (found.state, found.location) == ("damaged", path.parent)
    assert str(path) in found.detail


def test_a_damaged_file_beside_a_sound_copy(tiny: Tiny) -> None:
    """The sound copy has the same bytes by its hash, so it serves; status still tells."""
    tiny.register()
    tiny.place(tiny.cache)
    (tiny.data / IMAGES).write_bytes(b"rubbish")
    load("tiny")
    assert (tiny.data / IMAGES).read_bytes() == b"rubbish"
    found = status("tiny")
    assert found.state == "ready"
    assert f"not used: {tiny.data / IMAGES} is truncated" in found.detail


def test_another_file_is_fetched_meanwhile(tiny: Tiny) -> None:
    """One file damaged at the user's and sound in the cache, the other nowhere: only that one is fetched."""
    tiny.register("good")
    tiny.place(tiny.cache)
    (tiny.cache / LABELS).unlink()
    (tiny.data / IMAGES).write_bytes(b"rubbish")
    load("tiny", progress=False)
    assert [request.file for request in tiny.mirrors.requests] == [LABELS]
    assert snapshot(tiny.data) == {IMAGES: b"rubbish"}


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_a_damaged_file_of_the_cache(
    tiny: Tiny, damage: Callable[[bytes], bytes], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is kept aside, the file is fetched again, and the user is told."""
    tiny.register("good")
    path = tiny.place(tiny.cache) / LABELS
    wrong = damage(path.read_bytes())
    for number in (1, 2):
        path.write_bytes(wrong)
        load("tiny")
        assert path.read_bytes() == OFFICIAL[LABELS]
        assert (tiny.cache / f"{LABELS}.damaged-{number}").read_bytes() == wrong
    assert f"kept as {LABELS}.damaged-2" in capsys.readouterr().err


def test_a_damaged_file_of_the_cache_and_no_network(tiny: Tiny) -> None:
    tiny.register()
    path = tiny.place(tiny.cache) / IMAGES
    path.write_bytes(b"rubbish")
    with pytest.raises(DatasetError, match=f"kept as {IMAGES}.damaged-1") as caught:
        load("tiny", progress=False)
    assert "By hand: put these files into" in str(caught.value)
    assert (tiny.cache / f"{IMAGES}.damaged-1").read_bytes() == b"rubbish"


def test_status_changes_nothing(tiny: Tiny) -> None:
    tiny.register("good")
    assert status("tiny").state == "missing"
    assert not tiny.cache.exists()
    path = tiny.place(tiny.cache) / IMAGES
    path.write_bytes(b"rubbish")
    before = snapshot(tiny.cache)
    assert status("tiny").state == "damaged"
    assert snapshot(tiny.cache) == before
    assert tiny.mirrors.requests == []


def test_missing_files_are_named(tiny: Tiny) -> None:
    tiny.register()
    (tiny.place(tiny.cache) / LABELS).unlink()
    found = status("tiny")
    assert found.state == "missing"
    assert LABELS in found.detail
    assert IMAGES not in found.detail


def test_the_message_says_the_manual_way(tiny: Tiny) -> None:
    source = tiny.register()
    with pytest.raises(DatasetError) as caught:
        load("tiny")
    text = str(caught.value)
    for file in source.files:
        for form in file.forms:
            assert f"{form.name}  {form.size} bytes  sha256 {form.sha256}" in text
    assert str(tiny.cache) in text
    assert "$COSNORM_DATA" in text


def locked(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0)


IN_THE_WAY = [
    (lambda path, content: path.mkdir(), "is not a regular file"),
    (lambda path, content: path.symlink_to("nowhere"), "cannot be read"),
    pytest.param(
        locked,
        "cannot be read",
        marks=pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read every file"),
    ),
]


@pytest.mark.parametrize(("put", "message"), IN_THE_WAY)
def test_something_else_in_a_files_place(
    tiny: Tiny, put: Callable[[Path, bytes], None], message: str
) -> None:
    tiny.register("good")
    path = tiny.place(tiny.data) / IMAGES
    content = path.read_bytes()
    path.unlink()
    put(path, content)
    with pytest.raises(DatasetError, match=message):
        load("tiny")


def test_the_data_folder_must_be_one(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.register("good")
    monkeypatch.setenv("COSNORM_DATA", str(tiny.data / "no-such"))
    with pytest.raises(DatasetError, match="no-such, which is not a folder"):
        load("tiny")
    assert "not a folder" in status("tiny").detail


def test_a_cache_that_cannot_be_made(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.register("good")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COSNORM_CACHE", str(tmp_path / "file"))
    with pytest.raises(DatasetError, match=r"cannot write .*set \$COSNORM_CACHE"):
        load("tiny")
    assert tiny.mirrors.requests == []


def test_without_pooch(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are in place suffice; only a download needs it."""
    tiny.register("good")
    monkeypatch.setitem(sys.modules, "pooch", None)
    for cached in (True, False):
        if not cached:
            monkeypatch.delenv("COSNORM_CACHE")
        with pytest.raises(DatasetError, match=r"needs pooch; install it \(pip install pooch\)") as caught:
            load("tiny")
        assert "By hand: put these files into" in str(caught.value)
    tiny.place(tiny.data)
    load("tiny")


def test_content_that_the_hash_allows_and_the_parser_refuses(tiny: Tiny) -> None:
    def parse(contents: object) -> None:
        raise ValueError("nonsense inside")

    tiny.register(parse=parse)
    tiny.place(tiny.data)
    with pytest.raises(DatasetError, match=r"tiny has its official sha256 .* nonsense inside"):
        load("tiny")
