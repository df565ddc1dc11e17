"""The book's page of all exercises, with a link to the solution of each: book/solutions.md."""

from __future__ import annotations

import re
from pathlib import Path

from tools import chapters
from tools.pages import Page

PATH = Path("book") / "solutions.md"

_HEAD = """\
# Exercises and solutions

The book has {count} exercises. Each is given here as it stands in its chapter. Its solution is there \
too, closed until it is opened, with code that runs; the link leads to it. The last exercise of a chapter \
is often a question of research, and its solution then says what is known and how we would find out more. \
This page is written from the chapters by `make execute`.

"""


def text(root: Path) -> str:
    """Text of the page. The links to solutions have their targets from `tools.back_matter`."""
    sections, count = [], 0
    for path in chapters.chapters(root):
        found, _ = chapters.exercises(chapters.markdown(path))
        count += len(found)
        if found:
            sections.append("\n\n".join([f"## {chapters.title(path)}", *map(_entry, found)]))
    return _HEAD.format(count=count) + "\n\n".join(sections) + "\n"


def _entry(exercise: chapters.Exercise) -> str:
    # The formulas of the exercise keep their numbers in the chapter alone.
    words = re.sub(r"^\$\$ *\([\w-]+\) *$", "$$", exercise.text, flags=re.MULTILINE)
    return f"### {exercise.title}\n\n{{ref}}`{exercise.label}`. {words}\n\n{{ref}}`solution-{exercise.label}`"


PAGE = Page("exercises", lambda root: {PATH: text(root)})
