"""Command line of the book's tools.

python -m tools.notebooks execute [CHAPTER ...]   run chapters, store outputs and digests
python -m tools.notebooks equations               write book/checked-equations.md
python -m tools.notebooks pages                   write the pages that are made from the records
python -m tools.notebooks check                   say what is wrong with the stored chapters
python -m tools.notebooks set-url URL             change the repository's address everywhere
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tools import chapters, equations, inspection, repository


def execute(paths: list[Path]) -> int:
    """Execute the given chapters, or all of them, and print what changed."""
    from tools.execution import execute as execute_chapter  # needs nbclient; the other commands do not

    for path in paths or chapters.chapters():
        start = time.perf_counter()
        changed = execute_chapter(path.resolve())
        state = "changed" if changed else "unchanged"
        print(f"{path.name}: {state} ({time.perf_counter() - start:.0f} s)", flush=True)
    return 0


def write_equations() -> int:
    """Write the page of checked equations."""
    path = equations.write_page()
    print(f"wrote {path.relative_to(repository.ROOT)}")
    return 0


def write_pages() -> int:
    """Write the pages that are made from the records; the chapters must have been executed before."""
    from tools import (
        exercises_page,
        front_page,
        ledger_page,
        provenance_page,
        register_page,
    )  # they load the package, which takes a while

    for module in (front_page, ledger_page, register_page, provenance_page, exercises_page):
        print(f"wrote {module.write_page().relative_to(repository.ROOT)}")
    return 0


def check() -> int:
    """Print every problem; the exit status says whether there is one."""
    found = [problem for path in chapters.chapters() for problem in inspection.problems(path)]
    found += inspection.repeated_labels() + equations.problems()
    print("\n".join(found) or f"{len(chapters.chapters())} chapters: nothing wrong")
    return 1 if found else 0


def set_url(url: str) -> int:
    """Change the repository's address and print the files that changed."""
    try:
        changed = repository.set_address(url)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for path in changed:
        print(path.relative_to(repository.ROOT))
    print(f"{len(changed)} files changed")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.notebooks", description="Tools of the book.")
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("execute", help="run chapters, store outputs and digests")
    runner.add_argument("chapters", nargs="*", type=Path, help="notebooks (default: every chapter)")
    commands.add_parser("equations", help="write book/checked-equations.md")
    commands.add_parser("pages", help="write the pages that are made from the records")
    commands.add_parser("check", help="say what is wrong with the stored chapters")
    setter = commands.add_parser("set-url", help="change the repository's address in every file")
    setter.add_argument("url", help="https://github.com/OWNER/NAME")
    options = parser.parse_args(arguments)
    if options.command == "execute":
        return execute(options.chapters)
    if options.command == "equations":
        return write_equations()
    if options.command == "pages":
        return write_pages()
    if options.command == "check":
        return check()
    return set_url(options.url)


if __name__ == "__main__":
    raise SystemExit(main())
