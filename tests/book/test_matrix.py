"""The matrix runs chapters under each configuration, and says which cells fail where."""

from __future__ import annotations

import platform
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import matrix

X86 = platform.machine().lower() in ("x86_64", "amd64")
SETTINGS = """\
import os
print(os.environ["OMP_NUM_THREADS"], os.environ.get("ATEN_CPU_CAPABILITY", "as it is"))"""


def test_a_configuration_changes_only_what_it_names() -> None:
    variables = {"HOME": "/home", "OPENBLAS_CORETYPE": "Zen", "OMP_NUM_THREADS": "7"}
    assert matrix.environment("here", variables) == variables | {"OMP_NUM_THREADS": "1"}
    assert matrix.environment("no core type", variables) == {"HOME": "/home", "OMP_NUM_THREADS": "1"}
    assert matrix.environment("2 threads", variables)["OMP_NUM_THREADS"] == "2"
    old = matrix.environment("SSE4.1", variables)
    assert old["ATEN_CPU_CAPABILITY"] == "default"
    assert old["OPENBLAS_CORETYPE"] == "Nehalem"


def test_a_configuration_that_is_the_machine_as_it_is_does_not_apply() -> None:
    assert matrix.applies("here", {})
    assert matrix.applies("2 threads", {})
    assert matrix.applies("no core type", {"OPENBLAS_CORETYPE": "Zen"})
    assert not matrix.applies("no core type", {})
    assert matrix.applies("AVX2", {}) == X86


@pytest.mark.slow
@pytest.mark.skipif(not X86, reason="older processors are imitated on x86 only")
def test_a_cell_that_differs_on_an_older_processor_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "book").mkdir()
    path = tmp_path / "book" / "01-title.ipynb"
    output = new_output("stream", name="stdout", text="1 as it is\n")
    cells = [
        new_markdown_cell("# 1. Title", id="title"),
        new_code_cell("x = 1", id="same", execution_count=1),
        new_code_cell(SETTINGS, id="processor", execution_count=2, outputs=[output]),
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
