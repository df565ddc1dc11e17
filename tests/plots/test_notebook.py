"""In a notebook a figure shows once, as SVG, with the same bytes in every execution."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

CELLS = (
    "from cosnorm import plots\nplots.use_book_style()",
    "figure, axes = plots.new_figure('A line')\naxes.plot([1, 2, 3])\nfigure",
    "import matplotlib.pyplot as plt\nplt.plot([3, 1, 2], marker='o')\nplt.show()",
)


def execute(folder: Path) -> list[list[str]]:
    """The SVG outputs of each cell."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    return [
        [out.data["image/svg+xml"] for out in cell.outputs if "image/svg+xml" in out.get("data", {})]
        for cell in notebook.cells
    ]


def test_execution_repeats_every_figure(tmp_path: Path) -> None:
    one, two = execute(tmp_path), execute(tmp_path)
    assert [len(figures) for figures in one] == [0, 1, 1]
    assert one == two
    assert "<dc:date>" not in "".join(one[1] + one[2])
