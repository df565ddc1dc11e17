"""Finding and verifying files: what is right is found anywhere, what is wrong is named and left alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cosnorm.data import DatasetError, fetch, load, status
from cosnorm.data._files import Source

from .conftest import IMAGES, LABELS
from .mirrors import Mirrors

Register = Callable[..., Source]
Place = Callable[[Path], Path]
Folders = tuple[Path, Path]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("folder", ["tiny", ".", "TINY/raw"])
def test_found_in_the_data_folder(
    folder: str, folders: Folders, register: Register, place: Place, mirrors: Mirrors, pixels: np.ndarray
) -> None:
    register("good")
    place(folders[0] / folder)
    np.testing.assert_array_equal(load("tiny").train_inputs, pixels)
    assert fetch("tiny") == folders[0] / folder
    assert mirrors.requests == []
    assert not folders[1].exists()


def test_found_uncompressed(
    folders: Folders, register: Register, plain: dict[str, bytes], official: dict
) -> None:
    """The same content in another form gives the same dataset, and the same figure in the records."""
    register()
    for name, content in plain.items():
        (folders[0] / name).write_bytes(content)
    uncompressed = load("tiny")
    for name, content in official.items():
        (folders[0] / name).write_bytes(content)
    compressed = load("tiny")
    np.testing.assert_array_equal(uncompressed.train_inputs, compressed.train_inputs)
    assert uncompressed.sha256 == compressed.sha256


def test_found_in_the_cache(
    cache: Path, register: Register, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    place(cache)
    assert fetch("tiny") == cache
    monkeypatch.delenv("COSNORM_DATA")
    assert fetch("tiny") == cache


def test_files_in_two_places(folders: Folders, cache: Path, register: Register, place: Place) -> None:
    register()
    place(cache)
    (cache / IMAGES).rename(folders[0] / IMAGES)
    load("tiny")
    found = status("tiny")
    assert found.state == "ready"
    assert str(cache) in found.detail
    assert str(folders[0]) in found.detail


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
def test_a_damaged_file_of_the_user(
    damage: Callable[[bytes], bytes],
    message: str,
    folders: Folders,
    register: Register,
    place: Place,
    mirrors: Mirrors,
) -> None:
    """An error that names the file and how to mend it; nothing is changed, moved or downloaded."""
    source = register("good")
    path = place(folders[0] / "tiny") / LABELS
    path.write_bytes(damage(path.read_bytes()))
    before = snapshot(folders[0])
    with pytest.raises(DatasetError, match=message) as caught:
        load("tiny")
    text = str(caught.value)
    assert str(path) in text
    assert source.files[1].sha256 in text
    assert mirrors.base("good") in text
    assert snapshot(folders[0]) == before
    assert mirrors.requests == []
    found = status("tiny")
    assert (found.state, found.location) == ("damaged", path.parent)
    assert str(path) in found.detail


def test_a_damaged_file_beside_a_sound_copy(
    folders: Folders, cache: Path, register: Register, place: Place
) -> None:
    """The sound copy has the same bytes by its hash, so it serves; status still tells."""
    register()
    place(cache)
    (folders[0] / IMAGES).write_bytes(b"rubbish")
    load("tiny")
    assert (folders[0] / IMAGES).read_bytes() == b"rubbish"
    found = status("tiny")
    assert found.state == "ready"
    assert f"not used: {folders[0] / IMAGES} is truncated" in found.detail


def test_another_file_is_fetched_meanwhile(
    folders: Folders, cache: Path, register: Register, place: Place, mirrors: Mirrors
) -> None:
    """One file damaged at the user's and sound in the cache, the other nowhere: only that one is fetched."""
    register("good")
    place(cache)
    (cache / LABELS).unlink()
    (folders[0] / IMAGES).write_bytes(b"rubbish")
    load("tiny", progress=False)
    assert [request.file for request in mirrors.requests] == [LABELS]
    assert snapshot(folders[0]) == {IMAGES: b"rubbish"}


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_a_damaged_file_of_the_cache(
    damage: Callable[[bytes], bytes],
    message: str,
    cache: Path,
    register: Register,
    place: Place,
    official: dict[str, bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is kept aside, the file is fetched again, and the user is told."""
    register("good")
    path = place(cache) / LABELS
    wrong = damage(path.read_bytes())
    for number in (1, 2):
        path.write_bytes(wrong)
        load("tiny")
        assert path.read_bytes() == official[LABELS]
        assert (cache / f"{LABELS}.damaged-{number}").read_bytes() == wrong
    assert f"kept as {LABELS}.damaged-2" in capsys.readouterr().err


def test_a_damaged_file_of_the_cache_and_no_network(cache: Path, register: Register, place: Place) -> None:
    register()
    path = place(cache) / IMAGES
    path.write_bytes(b"rubbish")
    with pytest.raises(DatasetError, match=f"kept as {IMAGES}.damaged-1") as caught:
        load("tiny", progress=False)
    assert "By hand: put these files into" in str(caught.value)
    assert (cache / f"{IMAGES}.damaged-1").read_bytes() == b"rubbish"


def test_status_changes_nothing(cache: Path, register: Register, place: Place, mirrors: Mirrors) -> None:
    register("good")
    assert status("tiny").state == "missing"
    assert not cache.exists()
    path = place(cache) / IMAGES
    path.write_bytes(b"rubbish")
    before = snapshot(cache)
    assert status("tiny").state == "damaged"
    assert snapshot(cache) == before
    assert mirrors.requests == []


def test_missing_files_are_named(cache: Path, register: Register, place: Place) -> None:
    register()
    (place(cache) / LABELS).unlink()
    found = status("tiny")
    assert found.state == "missing"
    assert LABELS in found.detail
    assert IMAGES not in found.detail


def test_the_message_says_the_manual_way(register: Register, cache: Path) -> None:
    source = register()
    with pytest.raises(DatasetError) as caught:
        load("tiny")
    text = str(caught.value)
    for file in source.files:
        for form in file.forms:
            assert f"{form.name}  {form.size} bytes  sha256 {form.sha256}" in text
    assert str(cache) in text
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
    put: Callable[[Path, bytes], None], message: str, folders: Folders, register: Register, place: Place
) -> None:
    register("good")
    path = place(folders[0]) / IMAGES
    content = path.read_bytes()
    path.unlink()
    put(path, content)
    with pytest.raises(DatasetError, match=message):
        load("tiny")


def test_the_data_folder_must_be_one(
    folders: Folders, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("good")
    monkeypatch.setenv("COSNORM_DATA", str(folders[0] / "no-such"))
    with pytest.raises(DatasetError, match="no-such, which is not a folder"):
        load("tiny")
    assert "not a folder" in status("tiny").detail


def test_a_cache_that_cannot_be_made(
    tmp_path: Path, register: Register, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("good")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COSNORM_CACHE", str(tmp_path / "file"))
    with pytest.raises(DatasetError, match=r"cannot write .*set \$COSNORM_CACHE"):
        load("tiny")
    assert mirrors.requests == []


def test_without_pooch(
    folders: Folders, register: Register, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that are in place suffice; only a download needs it."""
    register("good")
    monkeypatch.setitem(sys.modules, "pooch", None)
    for cached in (True, False):
        if not cached:
            monkeypatch.delenv("COSNORM_CACHE")
        with pytest.raises(DatasetError, match=r"needs pooch; install it \(pip install pooch\)") as caught:
            load("tiny")
        assert "By hand: put these files into" in str(caught.value)
    place(folders[0])
    load("tiny")


def test_content_that_the_hash_allows_and_the_parser_refuses(
    folders: Folders, register: Register, place: Place
) -> None:
    def parse(contents: object) -> None:
        raise ValueError("nonsense inside")

    register(parse=parse)
    place(folders[0])
    with pytest.raises(DatasetError, match=r"tiny has its official sha256 .* nonsense inside"):
        load("tiny")
