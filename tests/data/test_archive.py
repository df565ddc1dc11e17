"""Files that mirrors serve inside an archive: verified one by one, resumed, and never unpacked by name."""

from __future__ import annotations

import errno
import gzip
import io
import tarfile
from pathlib import Path

import pytest

from cosnorm.data import DatasetError, _download, load
from cosnorm.data._files import Archive

from .conftest import IMAGES, LABELS, OFFICIAL, PLAIN, Tiny
from .mirrors import Mirrors

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


#: An archive with the images, as they should be, and other things.
GOOD = pack({"tiny/README": b"read me", f"{FOLDER}/{IMAGES}": OFFICIAL[IMAGES], f"other/{IMAGES}": b"x"})


def archived(
    tiny: Tiny, content: bytes, *behaviors: str, files: tuple[str, ...] = (IMAGES,), limit: int = 10**6
) -> None:
    """Let "tiny" come in an archive: its images only, or both files."""
    tiny.mirrors.files[NAME] = content
    tiny.register(*behaviors, archive=Archive(NAME, FOLDER, files, limit))


def asked(mirrors: Mirrors) -> list[tuple[str, str]]:
    return [(request.behaviour, request.file) for request in mirrors.requests]


def test_one_file_in_the_archive_and_one_beside_it(tiny: Tiny) -> None:
    archived(tiny, GOOD, "good")
    assert load("tiny", progress=False).train_inputs.shape == (40, 6, 6)
    assert asked(tiny.mirrors) == [("good", NAME), ("good", LABELS)]
    assert tiny.left() == [IMAGES, LABELS]
    assert (tiny.cache / IMAGES).read_bytes() == OFFICIAL[IMAGES]
    load("tiny", progress=False)
    assert len(tiny.mirrors.requests) == 2


def test_both_files_in_any_form(tiny: Tiny) -> None:
    """Names may begin with "./", as in archives of the current folder."""
    archived(
        tiny,
        pack({f"./{FOLDER}/{name}": content for name, content in PLAIN.items()}),
        "good",
        files=(IMAGES, LABELS),
    )
    load("tiny", progress=False)
    assert asked(tiny.mirrors) == [("good", NAME)]
    assert tiny.left() == [*PLAIN]


def test_the_archive_is_left_alone_when_its_files_are_there(tiny: Tiny) -> None:
    archived(tiny, b"", "good")
    (tiny.data / IMAGES).write_bytes(OFFICIAL[IMAGES])
    load("tiny", progress=False)
    assert asked(tiny.mirrors) == [("good", LABELS)]


@pytest.mark.parametrize("begun", ["right", "wrong"])
def test_a_part_that_was_begun(tiny: Tiny, begun: str) -> None:
    """It is completed; if that makes something else than the archive, it is begun again."""
    archived(tiny, GOOD, "good")
    tiny.cache.mkdir(parents=True)
    (tiny.cache / f"{NAME}.part").write_bytes(GOOD[:100] if begun == "right" else bytes(100))
    load("tiny", progress=False)
    assert tiny.mirrors.ranges("good") == ["bytes=100-", *([None] if begun == "wrong" else []), None]
    assert tiny.left() == [IMAGES, LABELS]


BAD_MIRRORS = [
    ("forbidden", "answered 403"),
    ("page", "brought a damaged archive"),
    ("endless", "sends more than 1000000 bytes"),
    ("breaking_at_once", "broke off"),
    ("nobody", "cannot be reached"),
]


@pytest.mark.parametrize(("behaviour", "message"), BAD_MIRRORS)
def test_the_next_mirror(
    tiny: Tiny, behaviour: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    archived(tiny, GOOD, "http://127.0.0.1:1/nobody/" if behaviour == "nobody" else behaviour, "good")
    load("tiny")
    assert ("good", NAME) in asked(tiny.mirrors)
    noted = [line for line in capsys.readouterr().err.splitlines() if f"/{behaviour}/{NAME}" in line]
    assert message in noted[0]


def test_a_mirror_that_does_not_say_the_size(tiny: Tiny) -> None:
    """Every file inside is verified, so it is as good as another."""
    archived(tiny, GOOD, "reticent")
    assert len(load("tiny", progress=False).train_inputs) > 0
    assert ("reticent", NAME) in asked(tiny.mirrors)


def test_larger_than_it_can_be(tiny: Tiny) -> None:
    archived(tiny, GOOD, "good", limit=len(GOOD) - 1)
    with pytest.raises(
        DatasetError, match=rf"offers {len(GOOD)} bytes, and tiny\.tgz has at most {len(GOOD) - 1}"
    ):
        load("tiny", progress=False)
    assert IMAGES not in tiny.left()


def changed(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


WHOLE, OTHER = pack({f"{FOLDER}/{IMAGES}": OFFICIAL[IMAGES]}), f"holds another {IMAGES} than the official one"
UNUSABLE = {
    "another file": (b"<html>Please sign in</html>", "brought a damaged archive"),
    "truncated": (WHOLE[:-200], "brought a damaged archive"),
    "cut inside": (gzip.compress(gzip.decompress(WHOLE)[:700]), "brought a damaged archive|holds another"),
    "another content": (pack({f"{FOLDER}/{IMAGES}": changed(OFFICIAL[IMAGES])}), OTHER),
    "more content": (pack({f"{FOLDER}/{IMAGES}": OFFICIAL[IMAGES] + b"x"}), OTHER),
    "elsewhere": (pack({f"other/{IMAGES}": OFFICIAL[IMAGES]}), f"without {IMAGES} in its folder {FOLDER}"),
    "a link": (pack({}, {f"{FOLDER}/{IMAGES}": "/etc/hostname"}), OTHER),
}


@pytest.mark.parametrize(("content", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_archive_that_is_of_no_use(tiny: Tiny, content: bytes, message: str) -> None:
    archived(tiny, content, "good")
    with pytest.raises(DatasetError, match=message) as caught:
        load("tiny", progress=False)
    assert f"where the archive {NAME} (in its folder {FOLDER}) holds {IMAGES}" in str(caught.value)
    assert IMAGES not in tiny.left()
    archived(tiny, GOOD, "good")
    load("tiny", progress=False)
    assert tiny.left() == [IMAGES, LABELS]


def test_a_disk_that_is_full_of_the_archive(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive is kept, so that the next run need not download it again."""

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    archived(tiny, GOOD, "good")
    with monkeypatch.context() as patch:
        patch.setattr(_download, "atomic", full)
        with pytest.raises(DatasetError, match=r"gz: No space left on device; free some space"):
            load("tiny", progress=False)
    assert tiny.left() == [f"{NAME}.part"]
    load("tiny", progress=False)
    assert tiny.mirrors.ranges("good") == [None, f"bytes={len(GOOD)}-", None]
    assert tiny.left() == [IMAGES, LABELS]


def test_nothing_is_written_by_name(tiny: Tiny, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    hostile = {
        f"../../{outside.name}": b"x",
        str(outside): b"x",
        f"{FOLDER}/../raw/{LABELS}": OFFICIAL[LABELS],
    }
    archived(tiny, pack({**hostile, f"{FOLDER}/{IMAGES}": OFFICIAL[IMAGES]}), "good")
    load("tiny", progress=False)
    assert not outside.exists()
    assert tiny.left() == [IMAGES, LABELS]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "data"]
