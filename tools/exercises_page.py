"""Write the book's page of all exercises, with a link to the solution of each.

python -m tools.exercises_page   write book/solutions.md
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from tools import chapters, repository

PAGE = Path("book") / "solutions.md"

_HEAD = """\
# Exercises and solutions

The book has {count} exercises. Each is given here as it stands in its chapter. Its solution is there \
too, closed until it is opened, with code that runs; the link leads to it. The last exercise of a chapter \
is often a question of research, and its solution then says what is known and how we would find out more. \
This page is written from the chapters by `make execute`.

"""
_FENCED = re.compile(
    r"^(`{3,})\{(exercise|solution)(?:-start)?\} *(.*?)\n(.*?)^\1 *$", re.MULTILINE | re.DOTALL
)
_OPTION = re.compile(r"^:(\w+): *(.*)\n", re.MULTILINE)


@dataclass(frozen=True)
class Exercise:
    """An exercise of a chapter.

    Attributes
    ----------
    label
        Such as ``ex-03-natural``.
    title, text
        In Markdown.
    """

    label: str
    title: str
    text: str


def exercises(path: Path) -> list[Exercise]:
    """All exercises of a chapter, in order."""
    found = []
    for _, kind, argument, body in _FENCED.findall(chapters.markdown(path)):
        if kind == "exercise":
            options = dict(_OPTION.findall(body))
            found.append(Exercise(options["label"], argument, _OPTION.sub("", body).strip()))
    return found


def solved(path: Path) -> list[str]:
    """Labels of the exercises that a chapter has solutions of, in order, with repeats."""
    return [
        argument.strip()
        for _, kind, argument, _ in _FENCED.findall(chapters.markdown(path))
        if kind == "solution"
    ]


def problems(root: Path = repository.ROOT) -> list[str]:
    """Exercises without one solution of their own, and whether the page is stale; empty when all is well."""
    found = []
    for path in chapters.chapters(root):
        labels, answers = [exercise.label for exercise in exercises(path)], solved(path)
        found += [
            f"{path.name}: {label} has {answers.count(label)} solutions"
            for label in labels
            if answers.count(label) != 1
        ]
        found += [
            f"{path.name}: a solution of {label}, which the chapter does not set"
            for label in answers
            if label not in labels
        ]
    stored = root / PAGE
    if not stored.exists() or stored.read_text(encoding="utf-8") != page(root):
        found.append(f"{PAGE} is stale: run `make execute`, or `python -m tools.exercises_page`")
    return found


def page(root: Path = repository.ROOT) -> str:
    """Text of `book/solutions.md`. Links to solutions have their targets from `tools.back_matter`."""
    sections, count = [], 0
    for path in chapters.chapters(root):
        found = exercises(path)
        count += len(found)
        if found:
            entries = "\n\n".join(map(_entry, found))
            sections.append(f"## {chapters.title(path)}\n\n{entries}")
    return _HEAD.format(count=count) + "\n\n".join(sections) + "\n"


def _entry(exercise: Exercise) -> str:
    # The formulas of the exercise keep their numbers in the chapter alone.
    text = re.sub(r"^\$\$ *\([\w-]+\) *$", "$$", exercise.text, flags=re.MULTILINE)
    return f"### {exercise.title}\n\n{{ref}}`{exercise.label}`. {text}\n\n{{ref}}`solution-{exercise.label}`"


def write_page(root: Path = repository.ROOT) -> Path:
    """Write the page and return its path."""
    path = root / PAGE
    path.write_text(page(root), encoding="utf-8", newline="\n")
    return path


def main(arguments: list[str] | None = None) -> int:
    """Write the page and say where."""
    argparse.ArgumentParser(prog="python -m tools.exercises_page", description=__doc__).parse_args(arguments)
    print(f"wrote {write_page().relative_to(repository.ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
