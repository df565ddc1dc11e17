"""Executing a chapter so that doing it again changes nothing in the file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from tools import chapters, repository

# Settings that would let this machine, and not the chapter, decide what is computed.
_PERSONAL = ("COSNORM_SCALE", "COSNORM_DATA", "COSNORM_CACHE", "MPLBACKEND", "PYTHONWARNINGS")
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
_CELL_TIMEOUT = 600  # seconds; the book promises cells of seconds


def environment() -> dict[str, str]:
    """Environment variables a chapter runs with."""
    kept = {name: value for name, value in os.environ.items() if name not in _PERSONAL}
    return kept | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


def run(notebook: NotebookNode, *, kernel: str = "python3") -> NotebookNode:
    """Execute every cell in a fresh kernel and an empty folder, and keep the outputs in `notebook`.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell raises and is not tagged ``raises-exception``.
    """
    client = NotebookClient(
        notebook,
        timeout=_CELL_TIMEOUT,
        startup_timeout=_CELL_TIMEOUT,  # a busy machine may take minutes to start a kernel
        kernel_name=kernel,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # else each kernel says that it talks without encryption
    )
    with tempfile.TemporaryDirectory() as folder:
        client.execute(cwd=folder, env=environment())
    return notebook


def clean(notebook: NotebookNode) -> NotebookNode:
    """Drop what differs between two runs, or between two machines, without any difference in the results."""
    notebook.metadata["kernelspec"] = dict(_KERNEL)
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for name in ("execution", "ExecuteTime", "collapsed"):
            cell.metadata.pop(name, None)
    return notebook


def execute(path: Path, root: Path = repository.ROOT) -> bool:
    """Execute one chapter in place and store the digest of what it was made from.

    Returns
    -------
    bool
        Whether the file changed.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell raises; the file is then left as it was.
    ValueError
        If the file is no notebook, or names records that do not exist.
    """
    before = path.read_bytes()
    notebook = clean(run(chapters.read(path)))
    book = notebook.metadata.setdefault("cosnorm", {})
    book.setdefault("records", [])
    book["digest"] = chapters.digest(notebook, root)
    nbformat.validate(notebook)
    after = (nbformat.writes(notebook).rstrip("\n") + "\n").encode()
    if after != before:
        path.write_bytes(after)
    return after != before
