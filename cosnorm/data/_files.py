"""The official files of a dataset, and the search for them on this machine, which changes nothing."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosnorm.data.dataset import Dataset, DatasetError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

DATA_VARIABLE = "COSNORM_DATA"
CACHE_VARIABLE = "COSNORM_CACHE"


@dataclass(frozen=True)
class SourceFile:
    """One official file; ``plain`` is its uncompressed form, which is accepted too."""

    name: str
    size: int
    sha256: str
    plain: SourceFile | None = None

    @property
    def forms(self) -> tuple[SourceFile, ...]:
        """The official form of the file, and others that are accepted."""
        return (self,) if self.plain is None else (self, self.plain)

    def __str__(self) -> str:
        return f"{self.name}  {self.size} bytes  sha256 {self.sha256}"


@dataclass(frozen=True)
class Archive:
    """A gzipped tar archive in which the mirrors serve some of the ``files``, in its folder ``folder``.

    Each file is verified, so the hash of the archive need not be known. An archive of more than ``limit``
    bytes is refused.
    """

    name: str
    folder: str
    files: tuple[str, ...]
    limit: int

    def __str__(self) -> str:
        return f"{self.name} (in its folder {self.folder})"


@dataclass(frozen=True)
class Source:
    """Everything that is specific to one dataset; an embedded one has no files."""

    name: str
    title: str
    #: Takes the verified content of each file by its official name, in any of its forms, and the settings.
    parse: Callable[..., Dataset]
    files: tuple[SourceFile, ...] = ()
    #: Base addresses, tried in order: the address of a file or archive is base + name.
    mirrors: tuple[str, ...] = ()
    #: Where the files may lie below ``$COSNORM_DATA``.
    folders: tuple[str, ...] = ()
    archive: Archive | None = None
    #: Dataclass of the settings that ``parse`` takes as its second argument.
    preparation: type[DataclassInstance] | None = None

    @property
    def embedded(self) -> bool:
        """Whether the data comes with a package."""
        return not self.files

    def settings(self, given: Mapping[str, Any]) -> tuple[DataclassInstance, ...]:
        """The arguments of ``parse`` after the contents: the full settings, or nothing."""
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
    """One SHA-256 for several files: that of the lines that ``sha256sum`` prints, sorted by name."""
    lines = [f"{file.sha256}  {file.name}\n" for file in sorted(files, key=lambda file: file.name)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Damage:
    """A file with the right name that cannot be used, and whether it lies in the cache."""

    file: SourceFile
    path: Path
    reason: str
    in_cache: bool

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


@dataclass
class Inspection:
    """Which files were found, each with its verified content, and which are damaged or missing."""

    contents: dict[str, bytes] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    damaged: list[Damage] = field(default_factory=list)
    missing: list[SourceFile] = field(default_factory=list)


def cache_folder() -> Path | None:
    """``$COSNORM_CACHE``, or the platform's folder for caches; None without pooch, which knows it."""
    value = os.environ.get(CACHE_VARIABLE, "")
    if value:
        return Path(value).expanduser().absolute()
    try:
        import pooch
    except ModuleNotFoundError:
        return None
    return Path(pooch.os_cache("cosnorm"))


def inspect(source: Source) -> Inspection:
    """Look for every file in ``$COSNORM_DATA``, then in the cache."""
    data, cache = _data_folder(), cache_folder()
    places = [] if data is None else [(data / folder, False) for folder in source.folders]
    if cache is not None:
        places.append((cache / source.name, True))
    found = Inspection()
    for file in source.files:
        _look_for(file, places, found)
    return found


def _data_folder() -> Path | None:
    value = os.environ.get(DATA_VARIABLE, "")
    if not value:
        return None
    folder = Path(value).expanduser().absolute()
    if not folder.is_dir():
        raise DatasetError(f"${DATA_VARIABLE} names {folder}, which is not a folder; correct it, or unset it")
    return folder


def _look_for(file: SourceFile, places: list[tuple[Path, bool]], found: Inspection) -> None:
    for folder, in_cache in places:
        for form in file.forms:
            path = folder / form.name
            if not os.path.lexists(path):
                continue
            try:
                found.contents[file.name] = _read_verified(path, form)
                found.paths[file.name] = path
                return
            except ValueError as error:
                found.damaged.append(Damage(file, path, str(error), in_cache))
    found.missing.append(file)


def _read_verified(path: Path, form: SourceFile) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is not a regular file")
        if status.st_size != form.size:
            raise ValueError(_wrong_size(path, status.st_size, form))
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror or error})") from error
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != form.sha256:
        raise ValueError(f"is damaged: its sha256 is {sha256}, not {form.sha256}")
    return content


def _wrong_size(path: Path, size: int, form: SourceFile) -> str:
    if size < form.size:
        with path.open("rb") as stream:
            if stream.read(64).lstrip().startswith(b"<"):
                return f"is a web page of {size} bytes: its download was refused or redirected"
        return f"is truncated: it has {size} of {form.size} bytes"
    return f"is not the official file: it has {size} bytes instead of {form.size}"
