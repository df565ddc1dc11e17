"""Rehearsal of Colab: a chapter alone in an empty folder, in an environment without the package."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tools import chapters, repository

pytestmark = pytest.mark.slow

CHAPTER = "02-cosine-normalization.ipynb"


def run(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"} | variables
    environment.pop("PYTHONPATH", None)
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=600
    )


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it would be published, built from the working tree."""
    target = tmp_path_factory.mktemp("dist")
    result = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target, cwd=root)
    assert result.returncode == 0, result.stdout + result.stderr
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bare_python(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a fresh environment that can run a notebook and has nothing else."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(folder, with_pip=True, symlinks=os.name == "posix")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [python, "-m", "pip", "install", "-qq", "-c", root / "constraints.txt", "ipykernel"]
    result = run(*install, cwd=folder)
    if result.returncode != 0:
        pytest.skip(f"no package index in reach: {(result.stderr or result.stdout).strip()[-200:]}")
    assert run(python, "-c", "import cosnorm", cwd=folder).returncode != 0, "the package is there already"
    return python


def test_wheel_holds_the_package_and_its_records(wheel: Path, root: Path) -> None:
    import zipfile

    names = set(zipfile.ZipFile(wheel).namelist())
    package = {
        path.relative_to(root).as_posix()
        for path in repository.text_files(root)
        if path.is_relative_to(root / "cosnorm")
    }
    assert "cosnorm/py.typed" in package
    assert package <= names, sorted(package - names)
    assert not {name for name in names if name.startswith(("tests/", "book/", "tools/"))}


def test_a_chapter_runs_alone_where_the_package_is_missing(
    wheel: Path, bare_python: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chapter's own first cell installs the package (here: from the wheel), and all others then run."""
    notebook = nbformat.read(root / "book" / CHAPTER, as_version=4)
    stored = [texts(cell) for cell in chapters.code_cells(notebook)]
    first = chapters.code_cells(notebook)[0]
    address = f"git+{repository.address(root)}"
    assert address in first.source
    first.source = first.source.replace(address, wheel.as_uri())
    monkeypatch.setenv("PIP_CONSTRAINT", str(root / "constraints.txt"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("PYTHONPATH", "COSNORM_DATA", "COSNORM_SCALE", "MPLBACKEND"):
        monkeypatch.delenv(name, raising=False)
    empty = tmp_path / "empty"
    empty.mkdir()
    run_with(notebook, bare_python, empty)
    assert not list(empty.iterdir())
    ran = [texts(cell) for cell in chapters.code_cells(notebook)]
    assert len(ran) > 5
    differing = [
        cell.id
        for cell, now, then in zip(chapters.code_cells(notebook), ran, stored, strict=True)
        if now != then and cell is not first and "nbval-ignore-output" not in cell.metadata.get("tags", [])
    ]
    assert not differing, f"other outputs than those stored, in cells {differing}"


def run_with(notebook: nbformat.NotebookNode, python: Path, folder: Path) -> None:
    """Execute a notebook in `folder` with the kernel of another environment."""
    client = NotebookClient(notebook, timeout=600, coalesce_streams=True)
    manager = client.create_kernel_manager()
    manager.kernel_spec.argv = [
        str(python),
        "-m",
        "ipykernel_launcher",
        "--log-level=ERROR",
        "-f",
        "{connection_file}",
    ]
    client.execute(cwd=str(folder))


def texts(cell: nbformat.NotebookNode) -> list[str]:
    """What a cell prints and returns, without figures."""
    found = [
        output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout"
    ]
    return found + [output.data.get("text/plain", "") for output in cell.outputs if "data" in output]
