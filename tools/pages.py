"""Generated files of the book: how they are written, and how a stale one is noticed.

A module that generates files defines ``PAGE``, and ``python -m tools.notebooks pages`` writes all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools import chapters, repository


@dataclass(frozen=True)
class Drawing:
    """A figure, which may look slightly different when another machine draws it.

    It is therefore fresh if it holds `mark`, which identifies the data that it shows.
    """

    mark: str
    draw: Callable[[], str | bytes]


@dataclass(frozen=True)
class Page:
    """A generated page with the figures on it, or a group of generated figures.

    Attributes
    ----------
    name
        For ``python -m tools.notebooks pages NAME``.
    files
        Returns every generated file, by its path below the given root: its text, or a drawing.
    owned
        Pattern of the files that nothing else writes. Those that the page no longer shows are deleted.
    """

    name: str
    files: Callable[[Path], Mapping[Path, str | Drawing]]
    owned: str = ""

    def write(self, root: Path = repository.ROOT) -> list[Path]:
        """Write every file, and return the paths."""
        files = self.files(root)
        for path in self._orphans(root, files):
            path.unlink()
        for path, content in files.items():
            content = content.draw() if isinstance(content, Drawing) else content
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content.encode() if isinstance(content, str) else content)
        return [root / path for path in files]

    def problems(self, root: Path = repository.ROOT) -> list[str]:
        """One sentence for each stale file; none if everything is fresh."""
        files = self.files(root)
        found = [f"{path} is stale" for path, content in files.items() if not _is_fresh(root / path, content)]
        found += [
            f"{path.relative_to(root)} is shown by no page any more" for path in self._orphans(root, files)
        ]
        return [
            f"{one}: run `make execute`, or `python -m tools.notebooks pages {self.name}`" for one in found
        ]

    def _orphans(self, root: Path, files: Mapping[Path, object]) -> list[Path]:
        found = root.glob(self.owned) if self.owned else ()
        return sorted(path for path in found if path.relative_to(root) not in files)


def _is_fresh(path: Path, content: str | Drawing) -> bool:
    if not path.exists():
        return False
    if isinstance(content, Drawing):
        return content.mark.encode() in path.read_bytes()
    return path.read_bytes() == content.encode()


def chapter_link(number: int, root: Path = repository.ROOT) -> str:
    """Markdown link to a chapter; empty if the chapter is not written yet."""
    found = (path.name for path in chapters.chapters(root) if path.name.startswith(f"{number:02d}-"))
    return next((f"[chapter {number}]({name})" for name in found), "")


def sentence_case(text: str) -> str:
    """The text with a capital at its beginning."""
    return text[:1].upper() + text[1:]
