"""Find a dataset's files and verify every byte of them. Nothing here changes the disk."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cosnorm.data._disk import CACHE_VARIABLE
from cosnorm.data._source import Source, SourceFile
from cosnorm.data.dataset import DatasetError

DATA_VARIABLE = "COSNORM_DATA"


@dataclass(frozen=True)
class Damage:
    """A file that is there under the right name and cannot be used. ``ours``: it lies in the cache."""

    file: SourceFile
    path: Path
    reason: str
    ours: bool

    def __str__(self) -> str:
        """What is wrong, for a person."""
        return f"{self.path} {self.reason}"


@dataclass
class Inspection:
    """What a look at all the places has found, each sound file with its verified content."""

    contents: dict[str, bytes] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    damaged: list[Damage] = field(default_factory=list)
    missing: list[SourceFile] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every file was found, and sound."""
        return not self.missing


def data_folder() -> Path | None:
    """The folder named by ``$COSNORM_DATA``, or None. Raises DatasetError when it is not a folder."""
    value = os.environ.get(DATA_VARIABLE, "")
    if not value:
        return None
    folder = Path(value).expanduser().absolute()
    if not folder.is_dir():
        raise DatasetError(f"${DATA_VARIABLE} names {folder}, which is not a folder; correct it, or unset it")
    return folder


def cache_folder() -> Path | None:
    """``$COSNORM_CACHE``, or the platform's folder for caches; None when pooch is not there to say which."""
    value = os.environ.get(CACHE_VARIABLE, "")
    if value:
        return Path(value).expanduser().absolute()
    try:
        import pooch
    except ModuleNotFoundError:
        return None
    return Path(pooch.os_cache("cosnorm"))


def inspect(source: Source) -> Inspection:
    """Look for every file in ``$COSNORM_DATA``, then in the cache. Changes nothing on disk."""
    data, cache = data_folder(), cache_folder()
    places = [] if data is None else [(data / folder, False) for folder in source.folders]
    if cache is not None:
        places.append((cache / source.name, True))
    found = Inspection()
    for file in source.files:
        _look_for(file, places, found)
    return found


def _look_for(file: SourceFile, places: list[tuple[Path, bool]], found: Inspection) -> None:
    for folder, ours in places:
        for form in file.forms:
            path = folder / form.name
            if not os.path.lexists(path):
                continue
            try:
                found.contents[file.name] = read_verified(path, form)
                found.paths[file.name] = path
                return
            except ValueError as error:
                found.damaged.append(Damage(file, path, str(error), ours))
    found.missing.append(file)


def read_verified(path: Path, form: SourceFile) -> bytes:
    """The whole content of a file. Raises :class:`ValueError` that says why it is not the official one."""
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
