"""How a dataset file declares what it needs: official files, where copies are, how to parse them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cosnorm.data.dataset import Dataset


@dataclass(frozen=True)
class SourceFile:
    """One official file. ``plain`` is the same content under another form, such as uncompressed."""

    name: str
    size: int
    sha256: str
    plain: SourceFile | None = None

    @property
    def forms(self) -> tuple[SourceFile, ...]:
        """Every form in which the file is accepted, the official one first."""
        return (self,) if self.plain is None else (self, self.plain)

    def __str__(self) -> str:
        """One line of the table in an error message."""
        return f"{self.name}  {self.size} bytes  sha256 {self.sha256}"


@dataclass(frozen=True)
class NpmPackage:
    """A package of the npm registry that holds the files, in either form, in one of its folders."""

    name: str
    version: str
    folder: str

    def __str__(self) -> str:
        """As the npm command wants it."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Source:
    """All that is particular to one dataset; the rest of this package is common to all.

    ``parse`` gets the verified content of every file, keyed by its official name, in the form in
    which it was found, and it may trust nothing but the hashes: it raises :class:`ValueError` for
    content that it cannot read. An embedded dataset declares no files.
    ``mirrors`` are base addresses, tried in order; a file's address is base + name. ``folders`` are
    the places below ``$COSNORM_DATA`` where the files may lie, "." being the folder itself.
    """

    name: str
    title: str
    parse: Callable[[Mapping[str, bytes]], Dataset]
    files: tuple[SourceFile, ...] = ()
    mirrors: tuple[str, ...] = ()
    npm: NpmPackage | None = None
    folders: tuple[str, ...] = ()

    @property
    def embedded(self) -> bool:
        """Whether the data needs no files at all."""
        return not self.files


def combined_sha256(files: Iterable[SourceFile]) -> str:
    """One SHA-256 for several files: of the lines that ``sha256sum`` prints for them, sorted by name."""
    lines = [f"{file.sha256}  {file.name}\n" for file in sorted(files, key=lambda file: file.name)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
