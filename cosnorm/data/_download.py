"""One file from one web server: time-outs, resumption, and no trust in what the server says."""

from __future__ import annotations

import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cosnorm.data._disk import writing

BLOCK = 1 << 16
_HEADERS = {"User-Agent": "cosnorm (+https://arxiv.org/abs/1702.05870)", "Accept-Encoding": "identity"}


class MirrorError(Exception):
    """This mirror does not give the file; another may."""


class UnreachableError(MirrorError):
    """This mirror gives no answer, and will give none for another file."""


class BrokenOffError(MirrorError):
    """This mirror gave a part of the file; asked again it may give the rest."""


@dataclass(frozen=True)
class Patience:
    """When to give a server up: ``timeout`` s of silence, or below ``slowest`` bytes/s after ``grace`` s."""

    timeout: float = 20.0
    grace: float = 30.0
    slowest: float = 20_000.0
    attempts: int = 4


PATIENCE = Patience()


def download(url: str, part: Path, size: int, show: Callable[[int], None], patience: Patience) -> None:
    """Bring the file ``part`` to ``size`` bytes, going on from those it has.

    The content is not checked: that is for the caller, who knows the hash. Raises MirrorError, with
    the bytes that did arrive kept in ``part``, and DatasetError where the disk refuses them.
    """
    for attempt in range(1, patience.attempts + 1):
        try:
            _request(url, part, size, show, patience)
            return
        except BrokenOffError:
            if attempt == patience.attempts:
                raise


def announced_size(url: str, patience: Patience) -> int:
    """How many bytes the server says that a file has. Raises MirrorError where it does not say."""
    request = urllib.request.Request(url, headers=_HEADERS, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=patience.timeout, context=_trust()) as response:
            length = response.headers.get("Content-Length", "")
    except urllib.error.HTTPError as error:
        error.close()
        raise MirrorError(f"answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"cannot be reached: {_explain(error, patience)}") from error
    if not length.isdigit():
        raise MirrorError("does not say how many bytes the file has")
    return int(length)


def _request(url: str, part: Path, size: int, show: Callable[[int], None], patience: Patience) -> None:
    """Ask once, for the bytes that are missing."""
    have = _length(part)
    if have > size:
        have = 0
    show(have)
    if have == size:
        return
    headers = {**_HEADERS, "Range": f"bytes={have}-"} if have else _HEADERS
    answered = False
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=patience.timeout, context=_trust()) as response:
            answered = True
            start = _start(response, have, size)
            _receive(response, part, start, size, show, patience)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            with writing(part):
                part.unlink()
            raise BrokenOffError("cannot resume") from error
        raise MirrorError(f"answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        kind = BrokenOffError if _length(part) > have else UnreachableError
        what = "broke off" if answered else "cannot be reached"
        raise kind(f"{what}: {_explain(error, patience)}") from error
    if _length(part) < size:
        kind = BrokenOffError if _length(part) > have else MirrorError
        raise kind(f"broke off after {_length(part)} of {size} bytes")


def _start(response: http.client.HTTPResponse, have: int, size: int) -> int:
    """The position of the answer's first byte in the file; refuses an answer of another length."""
    start, total = 0, response.headers.get("Content-Length")
    if response.status == http.client.PARTIAL_CONTENT:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != have:
            raise MirrorError("resumed at the wrong place")
        start, total = have, match[2]
    if total is not None and total.isdigit() and int(total) != size:
        raise MirrorError(f"offers {total} bytes instead of {size}: another file, or an error page")
    return start


def _receive(
    response: http.client.HTTPResponse,
    part: Path,
    start: int,
    size: int,
    show: Callable[[int], None],
    patience: Patience,
) -> None:
    """Write the answer at ``start``; never more than one block beyond ``size``."""
    with writing(part):
        stream = part.open("r+b" if start else "wb")
    count, began = start, time.monotonic()
    with stream:
        with writing(part):
            stream.seek(start)
            stream.truncate()
        while count <= size and (block := response.read1(BLOCK)):
            with writing(part):
                stream.write(block)
                stream.flush()
            count += len(block)
            show(min(count, size))
            elapsed = time.monotonic() - began
            if elapsed > patience.grace and count - start < elapsed * patience.slowest:
                raise MirrorError(f"is too slow: {count - start} bytes in {elapsed:.0f} s")
    if count > size:
        raise MirrorError(f"sends more than {size} bytes: another file, or an error page")


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _explain(error: Exception, patience: Patience) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer for {patience.timeout:g} s"
    return str(cause) or type(cause).__name__


def _trust() -> ssl.SSLContext:
    """The system's certificates, and certifi's where it is installed: some Pythons come with none."""
    context = ssl.create_default_context()
    try:
        import certifi
    except ModuleNotFoundError:
        return context
    context.load_verify_locations(certifi.where())
    return context
