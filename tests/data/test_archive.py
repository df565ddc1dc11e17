"""Files that mirrors serve inside an archive: verified one by one, resumed, and never unpacked by name."""

from __future__ import annotations

import errno
import gzip
import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cosnorm.data import DATASETS, DatasetError, _download, load
from cosnorm.data._files import Archive, Source

from .conftest import IMAGES, LABELS
from .mirrors import Mirrors

Register = Callable[..., Source]
NAME, FOLDER = "tiny.tgz", "tiny/raw"


def pack(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return stream.getvalue()


@pytest.fixture
def archived(
    register: Register, mirrors: Mirrors, official: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Source]:
    """Let "tiny" come in an archive: its images only, or both files."""

    def put(
        content: bytes, *behaviours: str, files: tuple[str, ...] = (IMAGES,), limit: int = 10**6
    ) -> Source:
        mirrors.files[NAME] = content
        source = replace(register(*behaviours), archive=Archive(NAME, FOLDER, files, limit))
        monkeypatch.setitem(DATASETS, "tiny", source)
        return source

    return put


@pytest.fixture
def good(official: dict[str, bytes]) -> bytes:
    """An archive with the images, as they should be, and other things."""
    return pack({"tiny/README": b"read me", f"{FOLDER}/{IMAGES}": official[IMAGES], f"other/{IMAGES}": b"x"})


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


def asked(mirrors: Mirrors) -> list[tuple[str, str]]:
    return [(request.behaviour, request.file) for request in mirrors.requests]


def test_one_file_in_the_archive_and_one_beside_it(
    archived: Callable[..., Source], good: bytes, cache: Path, mirrors: Mirrors, official: dict[str, bytes]
) -> None:
    archived(good, "good")
    assert load("tiny", progress=False).train_inputs.shape == (40, 6, 6)
    assert asked(mirrors) == [("good", NAME), ("good", LABELS)]
    assert left(cache) == [".lock", IMAGES, LABELS]
    assert (cache / IMAGES).read_bytes() == official[IMAGES]
    load("tiny", progress=False)
    assert len(mirrors.requests) == 2


def test_both_files_in_any_form(
    archived: Callable[..., Source], plain: dict[str, bytes], cache: Path, mirrors: Mirrors
) -> None:
    """Names may begin with "./", as in archives of the current folder."""
    archived(
        pack({f"./{FOLDER}/{name}": content for name, content in plain.items()}),
        "good",
        files=(IMAGES, LABELS),
    )
    load("tiny", progress=False)
    assert asked(mirrors) == [("good", NAME)]
    assert left(cache) == [".lock", *plain]


def test_the_archive_is_left_alone_when_its_files_are_there(
    archived: Callable[..., Source], folders: tuple[Path, Path], official: dict[str, bytes], mirrors: Mirrors
) -> None:
    archived(b"", "good")
    (folders[0] / IMAGES).write_bytes(official[IMAGES])
    load("tiny", progress=False)
    assert asked(mirrors) == [("good", LABELS)]


@pytest.mark.parametrize("begun", ["right", "wrong"])
def test_a_part_that_was_begun(
    begun: str, archived: Callable[..., Source], good: bytes, cache: Path, mirrors: Mirrors
) -> None:
    """It is completed; if that makes something else than the archive, it is begun again."""
    archived(good, "good")
    cache.mkdir(parents=True)
    (cache / f"{NAME}.part").write_bytes(good[:100] if begun == "right" else bytes(100))
    load("tiny", progress=False)
    assert mirrors.ranges("good") == ["bytes=100-", *([None] if begun == "wrong" else []), None]
    assert left(cache) == [".lock", IMAGES, LABELS]


BAD_MIRRORS = [
    ("forbidden", "answered 403"),
    ("page", "brought a damaged archive"),
    ("endless", "sends more than 1000000 bytes"),
    ("breaking_at_once", "broke off"),
    ("nobody", "cannot be reached"),
]


@pytest.mark.parametrize(("behaviour", "message"), BAD_MIRRORS)
def test_the_next_mirror(
    behaviour: str,
    message: str,
    archived: Callable[..., Source],
    good: bytes,
    mirrors: Mirrors,
    capsys: pytest.CaptureFixture[str],
) -> None:
    archived(good, "http://127.0.0.1:1/nobody/" if behaviour == "nobody" else behaviour, "good")
    load("tiny")
    assert ("good", NAME) in asked(mirrors)
    noted = [line for line in capsys.readouterr().err.splitlines() if f"/{behaviour}/{NAME}" in line]
    assert message in noted[0]


def test_a_mirror_that_does_not_say_the_size(archived: Callable[..., Source], good: bytes) -> None:
    """Every file inside is verified, so it is as good as another."""
    archived(good, "reticent")
    load("tiny", progress=False)


def test_larger_than_it_can_be(archived: Callable[..., Source], good: bytes, cache: Path) -> None:
    archived(good, "good", limit=len(good) - 1)
    with pytest.raises(
        DatasetError, match=rf"offers {len(good)} bytes, and tiny\.tgz has at most {len(good) - 1}"
    ):
        load("tiny", progress=False)
    assert IMAGES not in left(cache)


def changed(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def unusable(official: dict[str, bytes]) -> dict[str, tuple[bytes, str]]:
    images = official[IMAGES]
    whole = pack({f"{FOLDER}/{IMAGES}": images})
    cut = gzip.compress(gzip.decompress(whole)[:700])
    other = f"holds another {IMAGES} than the official one"
    return {
        "another file": (b"<html>Please sign in</html>", "brought a damaged archive"),
        "truncated": (whole[:-200], "brought a damaged archive"),
        "cut inside": (cut, "brought a damaged archive|holds another"),
        "another content": (pack({f"{FOLDER}/{IMAGES}": changed(images)}), other),
        "more content": (pack({f"{FOLDER}/{IMAGES}": images + b"x"}), other),
        "elsewhere": (pack({f"other/{IMAGES}": images}), f"without {IMAGES} in its folder {FOLDER}"),
        "a link": (pack({}, {f"{FOLDER}/{IMAGES}": "/etc/hostname"}), other),
    }


@pytest.mark.parametrize("case", list(unusable({IMAGES: b"x" * 2000})))
def test_an_archive_that_is_of_no_use(
    case: str, archived: Callable[..., Source], official: dict[str, bytes], cache: Path, good: bytes
) -> None:
    content, message = unusable(official)[case]
    archived(content, "good")
    with pytest.raises(DatasetError, match=message) as caught:
        load("tiny", progress=False)
    assert f"where the archive {NAME} (in its folder {FOLDER}) holds {IMAGES}" in str(caught.value)
    assert IMAGES not in left(cache)
    archived(good, "good")
    load("tiny", progress=False)
    assert left(cache) == [".lock", IMAGES, LABELS]


def test_a_disk_that_is_full_of_the_archive(
    archived: Callable[..., Source],
    good: bytes,
    cache: Path,
    mirrors: Mirrors,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The archive is kept, so that the next run need not download it again."""

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    archived(good, "good")
    with monkeypatch.context() as patch:
        patch.setattr(_download, "atomic", full)
        with pytest.raises(DatasetError, match=r"gz: No space left on device; free some space"):
            load("tiny", progress=False)
    assert left(cache) == [".lock", f"{NAME}.part"]
    load("tiny", progress=False)
    assert mirrors.ranges("good") == [None, f"bytes={len(good)}-", None]
    assert left(cache) == [".lock", IMAGES, LABELS]


def test_nothing_is_written_by_name(
    archived: Callable[..., Source], official: dict[str, bytes], tmp_path: Path, cache: Path
) -> None:
    outside = tmp_path / "outside"
    hostile = {
        f"../../{outside.name}": b"x",
        str(outside): b"x",
        f"{FOLDER}/../raw/{LABELS}": official[LABELS],
    }
    archived(pack({**hostile, f"{FOLDER}/{IMAGES}": official[IMAGES]}), "good")
    load("tiny", progress=False)
    assert not outside.exists()
    assert left(cache) == [".lock", IMAGES, LABELS]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "data"]
