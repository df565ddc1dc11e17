"""Rehearsal of Colab: chapters alone in an empty folder, where all is as in Colab and the package missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from packaging.requirements import Requirement

from tools import chapters, repository

pytestmark = pytest.mark.slow

# Quick ones: without records, with all techniques, and with records and a live run.
CHAPTERS = ("02-cosine-normalization.ipynb", "10-the-map.ipynb", "12-mnist.ipynb")

# Releases like those of Colab's image at the end of 2025. Of torch the one at hand is taken.
COLAB = {
    "filelock": "3.20.0",
    "matplotlib": "3.10.0",
    "numpy": "2.0.2",
    "pooch": "1.8.2",
    "rich": "13.9.4",
    "scikit-learn": "1.6.1",
    "scipy": "1.16.3",
    "sympy": "1.13.3",
    "tqdm": "4.67.1",
    "typer": "0.20.0",
}


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
def colab(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a fresh environment with what Colab has, a stand-in for its own module among it."""
    folder = tmp_path_factory.mktemp("colab") / "venv"
    venv.create(folder, with_pip=True, symlinks=os.name == "posix")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    (torch,) = [
        line for line in (root / "constraints.txt").read_text().splitlines() if line.startswith("torch==")
    ]
    wanted = [torch, "ipykernel", *(f"{name}=={version}" for name, version in COLAB.items())]
    result = run(python, "-m", "pip", "install", "-qq", *wanted, cwd=folder)
    if result.returncode != 0:
        pytest.skip(f"no package index in reach: {(result.stderr or result.stdout).strip()[-200:]}")
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).stdout
    module = Path(site.strip()) / "google" / "colab"
    module.mkdir(parents=True)
    (module / "__init__.py").write_text("IN_COLAB = True\n")
    assert run(python, "-c", "import google.colab", cwd=folder).returncode == 0
    return python


@pytest.fixture
def bare(colab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same without the package, and without settings that a reader of Colab does not have."""
    run(colab, "-m", "pip", "uninstall", "-q", "-y", "cosnorm", cwd=tmp_path)
    assert run(colab, "-c", "import cosnorm", cwd=tmp_path).returncode != 0, "the package is there already"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    for name in ("PYTHONPATH", "COSNORM_DATA", "COSNORM_SCALE", "MPLBACKEND", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    return colab


def installed(python: Path, folder: Path) -> dict[str, str]:
    """Every distribution of an environment but the book's own, with its version."""
    listed = run(python, "-m", "pip", "list", "--format", "json", cwd=folder).stdout
    return {one["name"]: one["version"] for one in json.loads(listed) if one["name"] != "cosnorm"}


def opened(chapter: str, wheel: Path, root: Path) -> nbformat.NotebookNode:
    """A chapter whose first cell installs this wheel, in the place of what GitHub has."""
    notebook = nbformat.read(root / "book" / chapter, as_version=4)
    first = chapters.code_cells(notebook)[0]
    address = f"git+{repository.address(root)}"
    assert address in first.source
    first.source = first.source.replace(address, wheel.as_uri())
    return notebook


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


def test_colab_has_what_the_package_needs(root: Path) -> None:
    """Or the first cell of a chapter would replace a package that Colab's others rely on."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    for requirement in map(Requirement, project["dependencies"]):
        if requirement.name != "torch":
            assert requirement.specifier.contains(COLAB[requirement.name]), requirement


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_runs_alone_where_the_package_is_missing(
    chapter: str, wheel: Path, bare: Path, root: Path, tmp_path: Path
) -> None:
    """Its own first cell installs the package and nothing else, and all others then run and say the same."""
    before = installed(bare, tmp_path)
    notebook = opened(chapter, wheel, root)
    stored = [texts(cell) for cell in chapters.code_cells(notebook)]
    empty = tmp_path / "empty"
    empty.mkdir()
    run_with(notebook, bare, empty)
    assert not list(empty.iterdir())
    assert installed(bare, tmp_path) == before
    ran = [texts(cell) for cell in chapters.code_cells(notebook)]
    assert len(ran) > 5
    compared = [chapters.texts_are_compared(notebook, cell) for cell in chapters.code_cells(notebook)]
    assert sum(compared[1:]) > 2
    cells = zip(chapters.code_cells(notebook)[1:], ran[1:], stored[1:], compared[1:], strict=True)
    differing = {cell.id: (now, then) for cell, now, then, counts in cells if counts and now != then}
    assert not differing, "other outputs than those stored"


def test_a_scale_chosen_in_colab_is_the_one_whose_cost_is_stated(
    wheel: Path, bare: Path, root: Path, tmp_path: Path
) -> None:
    """As chapter 12 tells its reader: ``%env`` in a new cell, before the cell that states the cost."""
    notebook = opened("12-mnist.ipynb", wheel, root)
    (place,) = [index for index, cell in enumerate(notebook.cells) if cell.get("id") == "live-cost"]
    assert "%env COSNORM_SCALE=short" in notebook.cells[place - 1].source
    choice = nbformat.v4.new_code_cell("%env COSNORM_SCALE=short")
    notebook.cells[place:] = [choice, notebook.cells[place]]
    run_with(notebook, bare, tmp_path)
    (said,) = texts(notebook.cells[-1])
    assert "scale short: mnist, 784-1000-1000-10, 20 epochs" in said
    assert "a stored one took" in said


def run_with(notebook: nbformat.NotebookNode, python: Path, folder: Path) -> None:
    """Execute a notebook in `folder` with the kernel of another environment."""
    client = NotebookClient(notebook, timeout=600, coalesce_streams=True)
    manager = client.create_kernel_manager()
    command = [str(python), "-m", "ipykernel_launcher", "--log-level=ERROR", "-f", "{connection_file}"]
    manager.kernel_spec.argv = command
    client.execute(cwd=str(folder))


def texts(cell: nbformat.NotebookNode) -> list[str]:
    """What a cell prints and returns, without figures."""
    found = [
        output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout"
    ]
    shown = [output.data for output in cell.outputs if "data" in output]
    # Beside Markdown the plain text only names the object's class, in words that IPython has changed.
    return found + [data.get("text/markdown", data.get("text/plain", "")) for data in shown]
