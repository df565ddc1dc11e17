"""Command line of the book's tools.

python -m tools.notebooks execute [CHAPTER ...]   run chapters, store outputs and digests
python -m tools.notebooks pages [NAME ...]        write the generated pages and figures
python -m tools.notebooks check                   say what is wrong with the stored chapters
python -m tools.notebooks set-url URL             change the repository's address everywhere
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tools import chapters, equations, inspection, repository
from tools.pages import Page

#: The modules that write generated pages and figures, by the names that the command takes.
PAGES = {
    "equations": "equations",
    "front": "front_page",
    "ledger": "ledger_page",
    "register": "register_page",
    "provenance": "provenance_page",
    "exercises": "exercises_page",
    "playground": "playground_figure",
    "identity": "site_identity",
}

# Settings that would let this machine, and not the chapter, decide what is computed.
_PERSONAL = ("COSNORM_SCALE", "COSNORM_DATA", "COSNORM_CACHE", "MPLBACKEND", "PYTHONWARNINGS")
_CELL_TIMEOUT = 600  # seconds; the book promises cells of seconds


def page(name: str) -> Page:
    """A generated page, by name. Most load the package, which takes a while, so they are imported here."""
    return import_module(f"tools.{PAGES[name]}").PAGE


def execute(path: Path, root: Path = repository.ROOT) -> bool:
    """Execute one chapter in place, so that doing it again changes nothing; returns whether it changed.

    Every cell runs in a fresh kernel and an empty folder. A chapter in which a cell raises, without being
    tagged ``raises-exception``, is left as it was.
    """
    from nbclient import NotebookClient  # the other commands do not need it

    before, notebook = path.read_bytes(), chapters.read(path)
    client = NotebookClient(
        notebook,
        timeout=_CELL_TIMEOUT,
        startup_timeout=_CELL_TIMEOUT,  # a busy machine may take minutes to start a kernel
        kernel_name="python3",
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # else each kernel says that it talks without encryption
    )
    kept = {name: value for name, value in os.environ.items() if name not in _PERSONAL}
    variables = kept | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    with tempfile.TemporaryDirectory() as folder:
        client.execute(cwd=folder, env=variables)
    _clean(notebook)
    book = notebook.metadata.setdefault("cosnorm", {})
    book.setdefault("records", [])
    book["digest"] = chapters.digest(notebook, root)
    nbformat.validate(notebook)
    after = (nbformat.writes(notebook).rstrip("\n") + "\n").encode()
    if after != before:
        path.write_bytes(after)
    return after != before


def _clean(notebook: NotebookNode) -> None:
    """Drop what differs between two runs, or between two machines, without any difference in the results."""
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for name in ("execution", "ExecuteTime", "collapsed"):
            cell.metadata.pop(name, None)


def problems() -> list[str]:
    """Everything wrong with the stored chapters, their labels and their equations."""
    found = [problem for path in chapters.chapters() for problem in inspection.problems(path)]
    return found + inspection.repeated_labels() + equations.problems()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.notebooks", description="Tools of the book.")
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("execute", help="run chapters, store outputs and digests")
    runner.add_argument("chapters", nargs="*", type=Path, help="notebooks (default: every chapter)")
    writer = commands.add_parser("pages", help="write the generated pages and figures")
    writer.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PAGES)} (default: all)")
    commands.add_parser("check", help="say what is wrong with the stored chapters")
    setter = commands.add_parser("set-url", help="change the repository's address in every file")
    setter.add_argument("url", help="https://github.com/OWNER/NAME")
    options = parser.parse_args(arguments)
    if options.command == "execute":
        for path in options.chapters or chapters.chapters():
            start = time.perf_counter()
            state = "changed" if execute(path.resolve()) else "unchanged"
            print(f"{path.name}: {state} ({time.perf_counter() - start:.0f} s)", flush=True)
    elif options.command == "pages":
        unknown = [name for name in options.names if name not in PAGES]
        if unknown:
            parser.error(f"no page is called {unknown[0]}; there are {', '.join(PAGES)}")
        for name in options.names or PAGES:
            for path in page(name).write():
                print(f"wrote {path.relative_to(repository.ROOT)}", flush=True)
    elif options.command == "check":
        found = problems()
        print("\n".join(found) or f"{len(chapters.chapters())} chapters: nothing wrong")
        return 1 if found else 0
    else:
        try:
            changed = repository.set_address(options.url)
        except ValueError as error:
            print(error, file=sys.stderr)
            return 2
        for path in changed:
            print(path.relative_to(repository.ROOT))
        print(f"{len(changed)} files changed")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
