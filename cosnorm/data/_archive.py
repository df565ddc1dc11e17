"""Take a dataset's files out of a tar archive. Nothing is unpacked by name.

The wanted members are read, verified and written under the names that this package chose.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cosnorm.data._disk import writing
from cosnorm.data._download import MirrorError
from cosnorm.data._source import SourceFile

SCRATCH = ".unpacking-"


def take(archive: Path, inside: str, files: Iterable[SourceFile], folder: Path) -> None:
    """Put those of ``files`` that the archive has in its folder ``inside``, in any form, into ``folder``.

    One form of a file is enough: the caller looks which files are still missing. Raises MirrorError where
    the archive is damaged, or a member has another content than the official one.
    """
    wanted = {f"{inside}/{form.name}": form for file in files for form in file.forms}
    with _opened(archive) as members:
        for member in members:
            form = wanted.get(member.name.removeprefix("./"))
            if form is not None:
                _put(_content(members, member, form.size), form, folder)


def rebuild(
    archive: Path,
    inside: str,
    files: Iterable[SourceFile],
    folder: Path,
    make: Callable[[str, Callable[[str, int], bytes]], bytes],
) -> None:
    """Put ``files`` into ``folder``, each made by ``make`` of what the archive has in its folder ``inside``.

    Raises MirrorError where the archive is damaged, or what is made is not the official file.
    """
    with _opened(archive) as members:
        read = partial(_named, members, inside)
        for file in files:
            try:
                content = make(file.name, read)
            except ValueError as error:
                raise MirrorError(f"holds nothing that {file.name} can be made of: {error}") from error
            _put(content, file, folder)


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(archive, "r:gz") as members:
            yield members
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise MirrorError(f"brought a damaged archive ({error})") from error


def _named(members: tarfile.TarFile, inside: str, name: str, limit: int) -> bytes:
    """The content of one member. Raises ValueError where there is none, or it is larger than the limit."""
    try:
        member = members.getmember(f"{inside}/{name}")
    except KeyError as error:
        raise ValueError(f"there is no {name}") from error
    content = _content(members, member, limit)
    if len(content) > limit:
        raise ValueError(f"{name} has more than {limit} bytes")
    return content


def _content(members: tarfile.TarFile, member: tarfile.TarInfo, limit: int) -> bytes:
    """What the member holds, and never more than one byte above the limit; nothing, if it is no file."""
    stream = members.extractfile(member) if member.isfile() else None
    return stream.read(limit + 1) if stream else b""


def _put(content: bytes, form: SourceFile, folder: Path) -> None:
    """Verify, and write the whole file or none: its name appears once it is complete."""
    if hashlib.sha256(content).hexdigest() != form.sha256:
        raise MirrorError(f"holds another {form.name} than the official one")
    scratch = folder / f"{SCRATCH}{os.getpid()}-{form.name}"
    with writing(folder / form.name):
        scratch.write_bytes(content)
        scratch.replace(folder / form.name)
