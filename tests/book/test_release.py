"""The files of a release: what the manifest says of them is true, and the notebooks in the archive open."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import nbformat
import pytest

import cosnorm
from tools import chapters, release


@pytest.fixture(scope="module")
def files(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("release")
    pdf = folder / "book.pdf"
    pdf.write_bytes(b"%PDF-1.7 a stand-in")
    (folder / "dist").mkdir()
    (folder / "dist" / "cosnorm-0.0.0.tar.gz").write_bytes(b"of an earlier release")
    (folder / "dist" / "notes.txt").write_bytes(b"somebody's own")
    made = {path.name: path for path in release.make(folder / "dist", pdf, root)}
    assert {path.name for path in (folder / "dist").iterdir()} == {*made, "notes.txt"}
    return made


@pytest.fixture(scope="module")
def archive(files: dict[str, Path]) -> zipfile.ZipFile:
    (path,) = [path for name, path in files.items() if name.endswith(".zip")]
    return zipfile.ZipFile(path)


def test_every_kind_of_file_is_there_with_the_version_in_its_name(files: dict[str, Path]) -> None:
    version = cosnorm.__version__
    assert set(files) == {
        f"cosnorm-{version}-py3-none-any.whl",
        f"cosnorm-{version}.tar.gz",
        f"cosnorm-notebooks-{version}.zip",
        f"cosnorm-{version}.pdf",
        "SHA256SUMS",
    }


def test_manifest_matches_the_files(files: dict[str, Path]) -> None:
    lines = dict(reversed(line.split("  ")) for line in files["SHA256SUMS"].read_text().splitlines())
    assert set(lines) == set(files) - {"SHA256SUMS"}
    for name, digest in lines.items():
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() == digest


def test_archive_holds_every_chapter_as_it_is(archive: zipfile.ZipFile, root: Path) -> None:
    assert archive.testzip() is None
    (folder,) = {name.split("/")[0] for name in archive.namelist()}
    for path in chapters.chapters(root):
        assert archive.read(f"{folder}/{path.name}") == path.read_bytes()
    sums = archive.read(f"{folder}/SHA256SUMS").decode().splitlines()
    assert len(sums) == len(chapters.chapters(root))
    for line in sums:
        digest, name = line.split("  ")
        assert hashlib.sha256(archive.read(f"{folder}/{name}")).hexdigest() == digest
    assert {f"{folder}/LICENSE", f"{folder}/LICENSE-text"} <= set(archive.namelist())


def test_same_notebooks_same_archive(archive: zipfile.ZipFile, root: Path, tmp_path: Path) -> None:
    again = release.zip_notebooks(tmp_path, root)
    assert again.read_bytes() == Path(str(archive.filename)).read_bytes()


def test_each_notebook_of_the_archive_runs_its_first_cell(archive: zipfile.ZipFile, tmp_path: Path) -> None:
    """Where the package is; test_colab.py installs it where it is not. Once: it is the same cell in all."""
    archive.extractall(tmp_path)
    cells = set()
    notebooks = sorted(tmp_path.rglob("*.ipynb"))
    for path in notebooks:
        first = chapters.code_cells(nbformat.read(path, as_version=4))[0]
        assert first.id == "bootstrap"
        cells.add(first.source)
    (source,) = cells
    code = "from IPython.core.interactiveshell import InteractiveShell as Shell\n"
    code += f"Shell().run_cell({source!r}).raise_error()"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(notebooks) == len(chapters.chapters())


def test_source_archive_can_make_the_book(files: dict[str, Path], root: Path) -> None:
    with tarfile.open(files[f"cosnorm-{cosnorm.__version__}.tar.gz"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {
        "_config.yml",
        "_toc.yml",
        "Makefile",
        "constraints.txt",
        "references.bib",
        "book/_generated/front.md",
    }
    assert needed <= names
    assert {path.relative_to(root).as_posix() for path in chapters.pages(root)} <= names


def test_a_missing_pdf_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["--pdf", str(tmp_path / "none.pdf"), "--folder", str(tmp_path)]) == 2
    assert "make pdf" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
