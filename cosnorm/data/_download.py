"""Download the files of a dataset that are missing, from one mirror after the other.

pooch checks the hash of a file and puts it in place. However, it knows only one address per file, it starts
again when a connection breaks, and its own downloader unpacks a .gz file that a server declares as a
compressed answer. The files have up to 180 MB, so this module has a loop over the mirrors and a downloader
that resumes.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import re
import ssl
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cosnorm._atomic import atomic
from cosnorm.data._files import (
    CACHE_VARIABLE,
    DATA_VARIABLE,
    Archive,
    Damage,
    Inspection,
    Source,
    SourceFile,
    cache_folder,
    inspect,
)
from cosnorm.data.dataset import DatasetError

BLOCK = 1 << 16
HEADERS = {"User-Agent": "cosnorm (+https://arxiv.org/abs/1702.05870)", "Accept-Encoding": "identity"}


def obtain(source: Source, progress: bool) -> Inspection:
    """Find and verify every file of a dataset; download those that are missing into the cache first."""
    found = inspect(source)
    if not found.missing:
        return found
    _refuse_damage(source, found)
    folder = _cache(source)

    def on_wait() -> None:
        say(f"another process is fetching {source.name} into {folder}; waiting for it", progress)

    with _locked(folder, on_wait) as exclusive:
        found = inspect(source)
        notes = [_quarantine(damage, progress) for damage in found.damaged if damage.in_cache]
        suffix = "part" if exclusive else f"part-{os.getpid()}"
        notes += _fetch(source, found.missing, folder, suffix, progress)
        found = inspect(source)
        if found.missing:
            raise DatasetError(_failure_message(source, found, folder, notes))
        if exclusive:
            _remove_leftovers(folder)
    return found


def say(message: str, shown: bool) -> None:
    """Write one line to standard error."""
    if shown:
        print(f"cosnorm: {message}", file=sys.stderr, flush=True)


# Messages


def _refuse_damage(source: Source, found: Inspection) -> None:
    # The files in $COSNORM_DATA are the user's: they are neither changed nor silently ignored.
    theirs = [damage for damage in found.damaged if not damage.in_cache and damage.file in found.missing]
    if theirs:
        lines = [
            f"{source.name}: a file in ${DATA_VARIABLE} is not the official one:",
            *(f"  {damage}" for damage in theirs),
            f"Replace it; or remove it, or unset ${DATA_VARIABLE}, to have it downloaded.",
            _manual_instructions(source, [damage.file for damage in theirs], None),
        ]
        raise DatasetError("\n".join(lines))


def _failure_message(source: Source, found: Inspection, folder: Path, notes: Sequence[str]) -> str:
    names = ", ".join(file.name for file in found.missing)
    lines = [
        f"{source.name}: cannot get {names}:",
        *(f"  {note}" for note in notes),
        "Run it again when the network is back: what has arrived is kept, and the download goes on there.",
        _manual_instructions(source, found.missing, folder),
    ]
    return "\n".join(lines)


def _manual_instructions(source: Source, files: Sequence[SourceFile], folder: Path | None) -> str:
    places = [] if folder is None else [str(folder)]
    places += [f"the folder {name} of one that ${DATA_VARIABLE} names" for name in source.folders[:1]]
    lines = [f"By hand: put these files into {', or into '.join(places)}:"]
    for file in files:
        lines.append(f"  {file}")
        lines += [f"    or in its place {file.plain}"] if file.plain else []
    lines += [f"They are available from {mirror}" for mirror in source.mirrors]
    if source.archive is not None:
        names = ", ".join(file.name for file in files if file.name in source.archive.files)
        lines += [f"where the archive {source.archive} holds {names}"] if names else []
    return "\n".join(lines)


@contextmanager
def _bar(name: str, shown: bool) -> Iterator[Callable[[int, int | None], None]]:
    # Yields a function of the numbers of bytes received and expected.
    try:
        from tqdm.auto import tqdm
    except ModuleNotFoundError:
        say(f"downloading {name}", shown)
        yield lambda count, size: None
        return
    with tqdm(desc=name, unit="B", unit_scale=True, leave=False, disable=not shown) as display:

        def show(count: int, size: int | None) -> None:
            if count < display.n:
                display.reset()
            display.total = size or display.total
            display.update(count - display.n)
            display.leave = count == size

        yield show


# The cache folder


def _cache(source: Source) -> Path:
    try:
        import pooch
    except ModuleNotFoundError as error:
        hint = f"{source.name}: a download needs pooch; install it (pip install pooch)"
        raise DatasetError(f"{hint}\n{_manual_instructions(source, source.files, cache_folder())}") from error
    pooch.get_logger().setLevel("WARNING")  # its notes would repeat ours
    return Path(cache_folder() or pooch.os_cache("cosnorm")) / source.name


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    # Only code that writes may stand inside: a failing connection is an OSError too.
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "free some space and run it again: what has arrived is kept and will be resumed"
        else:
            advice = f"make the folder writable, or set ${CACHE_VARIABLE} to one that is"
        raise DatasetError(f"cannot write {path}: {error.strerror or error}; {advice}") from error


@contextmanager
def _locked(folder: Path, on_wait: Callable[[], None]) -> Iterator[bool]:
    # Yields False on a file system without locks: then processes must not share the parts of files.
    path = folder / ".lock"
    with _writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()
    lock = FileLock(path)
    try:
        yield _acquire(lock, on_wait)
    finally:
        lock.release()


def _acquire(lock: FileLock, on_wait: Callable[[], None]) -> bool:
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait()
            lock.acquire()
    except OSError:
        return False
    return True


def _quarantine(damage: Damage, progress: bool) -> str:
    path, number = damage.path, 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.damaged-{number}")):
        number += 1
    with _writing(aside):
        path.rename(aside)
    note = f"{damage}; kept as {aside.name}"
    say(note, progress)
    return note


def _remove_leftovers(folder: Path) -> None:
    with _writing(folder):
        for pattern in ("*.part", "*.part-[0-9]*", "tmp*"):  # of interrupted runs; the last are pooch's
            for left in folder.glob(pattern):
                left.unlink()


# Mirrors


class MirrorError(Exception):
    """A mirror fails, but another one may work."""


class UnreachableError(MirrorError):
    """A mirror does not answer, and is not asked for other files."""


class BrokenOffError(MirrorError):
    """A mirror sent a part of a file, and may send the rest."""


class WrongContentError(MirrorError):
    """A mirror sent another file than the official one."""


@dataclass(frozen=True)
class Timeouts:
    """When to give up: after ``timeout`` s of silence, or below ``slowest`` bytes/s after ``grace`` s."""

    timeout: float = 20.0
    grace: float = 30.0
    slowest: float = 20_000.0
    attempts: int = 4


TIMEOUTS = Timeouts()


def _fetch(
    source: Source, missing: Sequence[SourceFile], folder: Path, suffix: str, progress: bool
) -> list[str]:
    # A part of a file is completed by the next mirror, or by the next run. The last mirror may be slow.
    notes: list[str] = []
    mirrors, archive = list(source.mirrors), source.archive
    packed = [file for file in missing if archive is not None and file.name in archive.files]
    items: list[SourceFile | Archive] = [file for file in missing if file not in packed]
    if archive is not None and packed:
        items.insert(0, archive)
    for item in items:
        part = folder / f"{item.name}.{suffix}"
        for mirror in tuple(mirrors):
            url = mirror + item.name
            timeouts = replace(TIMEOUTS, slowest=0.0) if mirror == mirrors[-1] else TIMEOUTS
            try:
                _get(url, item, packed, part, timeouts, progress)
                break
            except MirrorError as error:
                notes.append(f"{url} {error}")
                say(notes[-1], progress)
                if isinstance(error, UnreachableError):
                    mirrors.remove(mirror)
    return notes


def _get(
    url: str,
    item: SourceFile | Archive,
    packed: Sequence[SourceFile],
    part: Path,
    timeouts: Timeouts,
    progress: bool,
) -> None:
    begun = part.exists()
    with _bar(item.name, progress) as show:
        if isinstance(item, Archive):
            download = _Resuming(part, item.name, None, item.limit, timeouts, show)
            place = partial(_place_members, url, item, packed, download)
        else:
            download = _Resuming(part, item.name, item.size, item.size, timeouts, show)
            place = partial(_place_file, url, item, download)
        while True:
            try:
                place()
                return
            except WrongContentError:
                with _writing(part):
                    part.unlink(missing_ok=True)
                if not begun:
                    raise
                begun = False  # the part may have come from another file: start over once


def _place_file(url: str, file: SourceFile, download: _Resuming) -> None:
    import pooch

    folder = download.part.parent
    try:
        with _writing(folder / file.name):
            pooch.retrieve(url, f"sha256:{file.sha256}", file.name, folder, downloader=download)
    except ValueError as error:
        raise WrongContentError("gave a file with the wrong sha256") from error


def _place_members(url: str, archive: Archive, packed: Sequence[SourceFile], download: _Resuming) -> None:
    download.fill(url)
    try:
        with tarfile.open(download.part, "r:gz") as members:
            _unpack(members, archive, packed, download.part.parent)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise WrongContentError(f"brought a damaged archive ({error})") from error
    with _writing(download.part):
        download.part.unlink()


def _unpack(members: tarfile.TarFile, archive: Archive, packed: Sequence[SourceFile], folder: Path) -> None:
    # Nothing is unpacked under a name that the archive chooses.
    wanted = {f"{archive.folder}/{form.name}": form for file in packed for form in file.forms}
    absent = {file.name for file in packed}
    for member in members:
        form = wanted.get(member.name.removeprefix("./"))
        if form is None:
            continue
        stream = members.extractfile(member) if member.isfile() else None
        content = stream.read(form.size + 1) if stream else b""
        if hashlib.sha256(content).hexdigest() != form.sha256:
            raise WrongContentError(f"holds another {form.name} than the official one")
        with _writing(folder / form.name), atomic(folder / form.name) as file:
            file.write(content)
        absent -= {file.name for file in packed if form in file.forms}
    if absent:
        raise WrongContentError(
            f"gave an archive without {', '.join(sorted(absent))} in its folder {archive.folder}"
        )


@dataclass(frozen=True)
class _Resuming:
    """A downloader for pooch that writes to ``part``, and resumes from there the next time."""

    part: Path
    name: str
    size: int | None  # unknown for an archive
    limit: int
    timeouts: Timeouts
    show: Callable[[int, int | None], None]

    def __call__(self, fname: str, action: Any, pooch: Any, *, check_only: bool | None = None) -> None:
        # The parameters, an address and a path, have the names that pooch prescribes.
        self.fill(fname)
        with _writing(self.part):
            self.part.replace(action)

    def fill(self, url: str) -> None:
        # Ask again as long as something arrives. The content is not checked here.
        for attempt in range(1, self.timeouts.attempts + 1):
            have = self._have
            if have == self.size:
                return
            try:
                self._request(url, have if have <= self.limit else 0)
                return
            except BrokenOffError as error:
                if self._have == have:
                    raise UnreachableError(*error.args) from error
                if attempt == self.timeouts.attempts:
                    raise

    @property
    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _request(self, url: str, have: int) -> None:
        headers = {**HEADERS, "Range": f"bytes={have}-"} if have else HEADERS
        request = urllib.request.Request(url, headers=headers)
        failure = "cannot be reached"
        try:
            timeout = self.timeouts.timeout
            with urllib.request.urlopen(request, timeout=timeout, context=_ssl_context()) as response:
                failure = "broke off"
                self._receive(response, *self._span(response, have))
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                with _writing(self.part):
                    self.part.unlink()
                raise BrokenOffError("cannot resume") from error
            raise MirrorError(f"answered {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            raise BrokenOffError(f"{failure}: {_explain(error, self.timeouts)}") from error

    def _span(self, response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
        # Where the answer begins in the file, and the size of the file.
        start, announced = 0, response.headers.get("Content-Length", "")
        if response.status == http.client.PARTIAL_CONTENT:
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
            if match is None or int(match[1]) != have:
                raise MirrorError("resumed at the wrong place")
            start, announced = have, match[2]
        size = int(announced) if announced.isdigit() else self.size
        if self.size not in (None, size):
            raise MirrorError(f"offers {size} bytes instead of {self.size}: another file, or an error page")
        if size is not None and size > self.limit:
            raise MirrorError(f"offers {size} bytes, and {self.name} has at most {self.limit}")
        return start, size

    def _receive(self, response: http.client.HTTPResponse, start: int, size: int | None) -> None:
        # Never write more than one block beyond the size.
        most = self.limit if size is None else size
        count, began = start, time.monotonic()
        self.show(count, size)
        with _writing(self.part):
            stream = self.part.open("r+b" if start else "wb")
        with stream:
            stream.seek(start)
            while count <= most and (block := response.read1(BLOCK)):
                with _writing(self.part):
                    stream.write(block)
                    stream.flush()
                count += len(block)
                self.show(min(count, most), size)
                elapsed = time.monotonic() - began
                if elapsed > self.timeouts.grace and count - start < elapsed * self.timeouts.slowest:
                    raise MirrorError(f"is too slow: {count - start} bytes in {elapsed:.0f} s")
        if count > most:
            raise MirrorError(f"sends more than {most} bytes: another file, or an error page")
        if size is not None and count < size:
            raise BrokenOffError(f"broke off after {count} of {size} bytes")


def _explain(error: Exception, timeouts: Timeouts) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer for {timeouts.timeout:g} s"
    return str(cause) or type(cause).__name__


def _ssl_context() -> ssl.SSLContext:
    # Some Pythons have no certificates of the system; certifi comes with pooch.
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
