"""Executing a chapter stores the same bytes every time; nbval notices when a stored output is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import chapters
from tools.execution import execute

CODE = (
    "import os; os.listdir()",  # an empty folder, whatever lies beside the chapter
    "print('a'); print('b')",
    "%config InlineBackend.figure_formats = ['svg']\n"
    "%config InlineBackend.print_figure_kwargs = {'metadata': {'Date': None}}\n"
    "import matplotlib.pyplot as plt\nplt.rcParams['svg.hashsalt'] = 'x'\n"
    "plt.plot([1, 2])\nplt.show()",
    "[os.environ.get(name) for name in ('COSNORM_DATA', 'COSNORM_SCALE', 'OMP_NUM_THREADS')]",
)

# The kernels of these tests are processes of their own; with others at work they start slowly.
pytestmark = pytest.mark.slow


@pytest.fixture
def book(tmp_path: Path) -> Path:
    (tmp_path / "book").mkdir()
    (tmp_path / "_config.yml").write_text(
        "repository:\n  url: https://github.com/some/book\n  branch: main\n"
    )
    cells = [new_markdown_cell("# 1. Title", id="title")]
    cells += [new_code_cell(code, id=f"cell-{number}") for number, code in enumerate(CODE)]
    nbformat.write(new_notebook(cells=cells), tmp_path / "book" / "01-title.ipynb")
    return tmp_path


def test_executing_again_changes_nothing(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSNORM_DATA", "/somewhere")
    monkeypatch.setenv("COSNORM_SCALE", "paper")
    path = book / "book" / "01-title.ipynb"
    assert execute(path, book) is True
    first = path.read_bytes()
    assert execute(path, book) is False
    assert path.read_bytes() == first
    notebook = chapters.read(path)
    listing, printed, figure, variables = chapters.code_cells(notebook)
    assert listing.outputs[0].data["text/plain"] == "[]"
    assert [output.text for output in printed.outputs] == ["a\nb\n"]
    assert "<svg" in figure.outputs[0].data["image/svg+xml"]
    assert variables.outputs[0].data["text/plain"] == "[None, None, '1']"
    assert "execution" not in printed.metadata
    assert notebook.metadata.cosnorm.digest == chapters.digest(notebook, book)


def test_a_failing_chapter_is_left_as_it_was(book: Path) -> None:
    path = book / "book" / "01-title.ipynb"
    notebook = chapters.read(path)
    notebook.cells.append(new_code_cell("1 / 0", id="last"))
    nbformat.write(notebook, path)
    before = path.read_bytes()
    with pytest.raises(Exception, match="ZeroDivisionError"):
        execute(path, book)
    assert path.read_bytes() == before


def nbval(root: Path, path: Path) -> subprocess.CompletedProcess[str]:
    """Run a notebook as `make test` does, with the project's own rules."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-q",
        "--nbval",
        "--nbval-current-env",
    ]
    command += [
        "--nbval-sanitize-with",
        str(root / "tests/nbval-sanitize.cfg"),
        "-c",
        str(root / "pyproject.toml"),
    ]
    command += ["--confcutdir", str(root), "-p", "conftest", str(path)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    ("stored", "now", "lax", "tags", "passes"),
    [
        ("0.25", "0.25", False, [], True),
        ("0.25", "0.27", False, [], False),
        ("0.25", "0.27", True, [], True),
        ("0.25", "0.27", True, ["nbval-check-output"], False),
        ("0.25", "0.27", False, ["nbval-ignore-output"], True),
        ("took 1.5 ms", "took 17 ms", False, [], True),
        ("0.25 and -0.0", "0.26 and 0.0", False, [], True),
        ("12 errors", "13 errors", False, [], False),
    ],
)
def test_nbval_compares_results_and_not_times(
    stored: str, now: str, lax: bool, tags: list[str], passes: bool, root: Path, tmp_path: Path
) -> None:
    book = {"nbval": "lax"} if lax else {}
    cell = new_code_cell(f"print({now!r})", id="cell", execution_count=1, metadata={"tags": tags})
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=stored + "\n")]
    path = tmp_path / "01-title.ipynb"
    nbformat.write(new_notebook(cells=[cell], metadata={"cosnorm": book}), path)
    result = nbval(root, path)
    assert ("1 passed" if passes else "1 failed") in result.stdout, result.stdout + result.stderr
