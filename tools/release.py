"""Make the files of a release: wheel, source archive, notebooks, the book as PDF, and their checksums.

python -m tools.release [--pdf FILE]   write them to dist
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cosnorm
from tools import chapters, repository

FOLDER = Path("dist")
MANIFEST = "SHA256SUMS"
# The earliest date that a zip can hold: the same notebooks are the same archive.
_DATE = (1980, 1, 1, 0, 0, 0)


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def manifest(paths: list[Path]) -> str:
    """Checksums in the form that ``sha256sum --check`` reads, by name."""
    return "".join(f"{sha256(path)}  {path.name}\n" for path in sorted(paths, key=lambda path: path.name))


def build_package(folder: Path, root: Path = repository.ROOT) -> list[Path]:
    """Build wheel and source archive."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder.resolve())]
    subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)
    return sorted([*folder.glob("*.whl"), *folder.glob("*.tar.gz")])


def zip_notebooks(folder: Path, root: Path = repository.ROOT) -> Path:
    """Put every chapter into one archive, with its outputs, and a manifest of its own."""
    name = f"cosnorm-notebooks-{cosnorm.__version__}"
    target = folder / f"{name}.zip"
    notebooks = chapters.chapters(root)
    contents = {path.name: path.read_bytes() for path in notebooks}
    contents[MANIFEST] = manifest(notebooks).encode()
    contents |= {license: (root / license).read_bytes() for license in ("LICENSE", "LICENSE-text")}
    with zipfile.ZipFile(target, "w") as archive:
        for member, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(f"{name}/{member}", _DATE)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=9)
    return target


def make(folder: Path, pdf: Path | None = None, root: Path = repository.ROOT) -> list[Path]:
    """Make all files of a release, and return them, the manifest last.

    Files of an earlier release are deleted from the folder, so that none is taken for one of this. The PDF is
    the one that `make pdf` writes; without it, the release has none.
    """
    if pdf is not None and not pdf.is_file():
        raise FileNotFoundError(f"{pdf} is not there: run `make pdf` first")
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("cosnorm-*"), folder / MANIFEST]:
        old.unlink(missing_ok=True)
    paths = [*build_package(folder, root), zip_notebooks(folder, root)]
    if pdf is not None:
        paths.append(Path(shutil.copyfile(pdf, folder / f"cosnorm-{cosnorm.__version__}.pdf")))
    (folder / MANIFEST).write_text(manifest(paths), encoding="utf-8", newline="\n")
    return [*paths, folder / MANIFEST]


def main(arguments: list[str] | None = None) -> int:
    """Write the files and say what they are."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    parser.add_argument("--pdf", type=Path, help="the book as PDF, from `make pdf`")
    parser.add_argument("--folder", type=Path, default=repository.ROOT / FOLDER)
    options = parser.parse_args(arguments)
    try:
        paths = make(options.folder, options.pdf)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    for path in paths:
        print(f"{path.stat().st_size:>10,}  {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
