"""Executing a chapter stores the same bytes every time, and nbval notices a wrong output."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import chapters, matrix
from tools.notebooks import execute

CODE = (
    "import os; os.listdir()",  # an empty folder, whatever lies beside the chapter
    "print('a'); print('b')",
    "%config InlineBackend.figure_formats = ['svg']\n"
    "%config InlineBackend.print_figure_kwargs = {'metadata': {'Date': None}}\n"
    "import matplotlib.pyplot as plt\nplt.rcParams['svg.hashsalt'] = 'x'\n"
    "plt.plot([1, 2])\nplt.show()",
    "[os.environ.get(name) for name in ('COSNORM_DATA', 'COSNORM_SCALE', 'OMP_NUM_THREADS')]",
)
X86 = platform.machine().lower() in ("x86_64", "amd64")


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
    notebook.cells.append(new_code_cell("1 / 0", id="last"))
    nbformat.write(notebook, path)
    before = path.read_bytes()
    with pytest.raises(Exception, match="ZeroDivisionError"):
        execute(path, book)
    assert path.read_bytes() == before, "a chapter that fails is left as it was"


# By name: what is stored, what is printed, whether the chapter is lax, the cell's tags, whether nbval passes.
COMPARED = {
    "same": ("0.25", "0.25", False, [], True),
    "other": ("0.25", "0.27", False, [], False),
    "lax": ("0.25", "0.27", True, [], True),
    "checked": ("0.25", "0.27", True, ["nbval-check-output"], False),
    "ignored": ("0.25", "0.27", False, ["nbval-ignore-output"], True),
    "times": ("took 1.5 ms", "took 17 ms", False, [], True),
    "rounded": ("0.25 and -0.0", "0.26 and 0.0", False, [], True),
    "counts": ("12 errors", "13 errors", False, [], False),
}


def test_nbval_compares_results_and_not_times(root: Path, tmp_path: Path) -> None:
    """As `make test` does, with the project's own rules."""
    for name, (stored, now, lax, tags, _) in COMPARED.items():
        cell = new_code_cell(f"print({now!r})", id="cell", execution_count=1, metadata={"tags": tags})
        cell.outputs = [new_output("stream", name="stdout", text=stored + "\n")]
        metadata = {"cosnorm": {"nbval": "lax"} if lax else {}}
        nbformat.write(new_notebook(cells=[cell], metadata=metadata), tmp_path / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", "--color=no", "--nbval"]
    command += ["--nbval-current-env", "--nbval-sanitize-with", str(root / "tests/nbval-sanitize.cfg")]
    command += [
        "-c",
        str(root / "pyproject.toml"),
        "--confcutdir",
        str(root),
        "-p",
        "conftest",
        str(tmp_path),
    ]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    for name, (*_, passes) in COMPARED.items():
        lines = [line for line in result.stdout.splitlines() if line.startswith(("PASSED", "FAILED"))]
        (line,) = (line for line in lines if f"{name}.ipynb" in line)
        assert line.startswith("PASSED" if passes else "FAILED"), result.stdout + result.stderr


# -- other processors ----------------------------------------------------------------------------------


def test_a_configuration_changes_only_what_it_names_and_applies_only_where_that_matters() -> None:
    variables = {"HOME": "/home", "OPENBLAS_CORETYPE": "Zen", "OMP_NUM_THREADS": "7"}
    assert matrix.environment("here", variables) == variables | {"OMP_NUM_THREADS": "1"}
    assert matrix.environment("no core type", variables) == {"HOME": "/home", "OMP_NUM_THREADS": "1"}
    assert matrix.environment("2 threads", variables)["OMP_NUM_THREADS"] == "2"
    old = matrix.environment("SSE4.1", variables)
    assert (old["ATEN_CPU_CAPABILITY"], old["OPENBLAS_CORETYPE"]) == ("default", "Nehalem")
    assert matrix.applies("here", {})
    assert matrix.applies("2 threads", {})
    assert matrix.applies("no core type", {"OPENBLAS_CORETYPE": "Zen"})
    assert not matrix.applies("no core type", {})
    assert matrix.applies("AVX2", {}) == X86


@pytest.mark.skipif(not X86, reason="older processors are imitated on x86 only")
def test_a_cell_that_differs_on_an_older_processor_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "book").mkdir()
    path = tmp_path / "book" / "01-title.ipynb"
    code = (
        'import os\nprint(os.environ["OMP_NUM_THREADS"], os.environ.get("ATEN_CPU_CAPABILITY", "as it is"))'
    )
    output = new_output("stream", name="stdout", text="1 as it is\n")
    cells = [
        new_markdown_cell("# 1. Title", id="title"),
        new_code_cell("x = 1", id="same", execution_count=1),
        new_code_cell(code, id="processor", execution_count=2, outputs=[output]),
    ]
    nbformat.write(new_notebook(cells=cells), path)
    for name in ("conftest.py", "pyproject.toml", "tools", "tests"):
        (tmp_path / name).symlink_to(matrix.repository.ROOT / name)
    monkeypatch.setattr(matrix.repository, "ROOT", tmp_path)
    monkeypatch.setattr(matrix, "_LOGS", tmp_path / "logs")
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    assert matrix.main(["--only", "here", "--only", "SSE4.1", "--jobs", "1", str(path)]) == 1
    said = capsys.readouterr().out
    assert "| 01-title processor |  | fails |" in said
    assert "| failing cells | 0 | 1 |" in said
    assert matrix.main(["--only", "here", "--jobs", "1", str(path)]) == 0
    assert "every cell passes" in capsys.readouterr().out
