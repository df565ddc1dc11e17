"""Downloads from mirrors of every kind, on a server of the test's own."""

from __future__ import annotations

import errno
import hashlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosnorm.data import DatasetError, _download, _obtain, fetch, load, status
from cosnorm.data._source import Source

from .conftest import IMAGES, LABELS
from .mirrors import Mirrors

Register = Callable[..., Source]


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_a_good_mirror(register: Register, cache: Path, pixels: np.ndarray, mirrors: Mirrors) -> None:
    register("good")
    np.testing.assert_array_equal(load("tiny").train_inputs, pixels)
    assert parts(cache) == [IMAGES, LABELS]
    assert status("tiny").state == "ready"
    asked = len(mirrors.requests)
    assert fetch("tiny") == cache
    assert len(mirrors.requests) == asked == 2


BAD = [
    ("forbidden", "answered 403 Forbidden"),
    ("page", "offers 27 bytes instead of"),
    ("corrupt", "wrong sha256, kept as"),
    ("short", r"broke off after \d+ of \d+ bytes"),
    ("endless", r"sends more than \d+ bytes"),
    ("breaking_at_once", r"broke off after 0 of \d+ bytes"),
    ("silent", "cannot be reached: no answer for 0.8 s"),
    ("stalling", "broke off: no answer for 0.8 s"),
    ("babbling", "cannot be reached: "),
]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("behaviour", [name for name, _ in BAD])
def test_a_good_mirror_after_a_bad_one(
    behaviour: str, register: Register, cache: Path, pixels: np.ndarray
) -> None:
    register(behaviour, "good")
    np.testing.assert_array_equal(load("tiny").train_inputs, pixels)
    aside = [f"{name}.part.damaged-1" for name in (IMAGES, LABELS) if behaviour == "corrupt"]
    assert parts(cache) == sorted([IMAGES, LABELS, *aside])


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(("behaviour", "message"), BAD)
def test_bad_mirrors_only(behaviour: str, message: str, register: Register, cache: Path) -> None:
    """One error at the end: what each mirror did, and how to go on by hand."""
    source = register(behaviour)
    with pytest.raises(DatasetError, match=message) as caught:
        load("tiny", progress=False)
    text = str(caught.value)
    assert f"{source.mirrors[0]}{IMAGES} " in text
    assert "By hand: put these files into" in text
    assert not (cache / IMAGES).exists()
    assert status("tiny").state == "missing"


def test_an_endless_answer_is_cut_off(register: Register, cache: Path, official: dict[str, bytes]) -> None:
    register("endless")
    with pytest.raises(DatasetError, match="sends more than"):
        load("tiny", progress=False)
    assert (cache / f"{IMAGES}.part").stat().st_size <= len(official[IMAGES]) + _download.BLOCK


@pytest.mark.usefixtures("hasty")
def test_an_unreachable_mirror_is_asked_once(register: Register, mirrors: Mirrors) -> None:
    register("silent", "good")
    load("tiny", progress=False)
    assert [(request.behaviour, request.file) for request in mirrors.requests] == [
        ("silent", IMAGES),
        ("good", IMAGES),
        ("good", LABELS),
    ]


def test_nobody_listens(register: Register) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        register(f"http://127.0.0.1:{taken.getsockname()[1]}/")
    with pytest.raises(DatasetError, match=r"cannot be reached: .*refused"):
        load("tiny", progress=False)


def test_corrupt_downloads_are_kept_aside(
    register: Register, cache: Path, official: dict[str, bytes]
) -> None:
    register("corrupt", "good")
    load("tiny", progress=False)
    wrong = (cache / f"{IMAGES}.part.damaged-1").read_bytes()
    assert len(wrong) == len(official[IMAGES])
    assert wrong != official[IMAGES]


@pytest.mark.parametrize("behaviour", ["good", "forgetful", "stubborn"])
@pytest.mark.parametrize("fraction", [0.3, 1.0, 1.5])
def test_resumes_a_part(
    behaviour: str,
    fraction: float,
    register: Register,
    cache: Path,
    official: dict[str, bytes],
    mirrors: Mirrors,
) -> None:
    """A part is completed, whether the server resumes, ignores the wish, or refuses it."""
    register(behaviour)
    cache.mkdir(parents=True)
    content = official[IMAGES]
    have = int(fraction * len(content))
    (cache / f"{IMAGES}.part").write_bytes((content + content)[:have])
    load("tiny", progress=False)
    assert parts(cache) == [IMAGES, LABELS]
    ranges = [request.range for request in mirrors.requests if request.file == IMAGES]
    if fraction == 1.0:
        assert ranges == []
    elif fraction > 1:
        assert ranges == [None]
    else:
        wish = f"bytes={have}-"
        assert ranges == ([wish, None] if behaviour == "stubborn" else [wish])


def test_a_server_that_resumes_elsewhere(
    register: Register, cache: Path, official: dict[str, bytes], mirrors: Mirrors
) -> None:
    """Its bytes would land in the wrong place: they are not taken, and the next mirror goes on."""
    register("misplacing", "good")
    cache.mkdir(parents=True)
    (cache / f"{IMAGES}.part").write_bytes(official[IMAGES][:100])
    load("tiny", progress=False)
    assert parts(cache) == [IMAGES, LABELS]
    assert mirrors.ranges("misplacing") == ["bytes=100-", None]
    assert mirrors.ranges("good") == ["bytes=100-"]


def test_only_the_missing_bytes_are_sent(
    register: Register, official: dict[str, bytes], tmp_path: Path
) -> None:
    source = register("good")
    content = official[IMAGES]
    part, shown = tmp_path / "part", []
    part.write_bytes(content[:100])
    url = source.mirrors[0] + IMAGES
    _download.download(url, part, len(content), shown.append, _download.PATIENCE)
    assert part.read_bytes() == content
    assert shown[0] == 100
    assert shown[-1] == len(content)
    assert shown == sorted(shown)


@pytest.mark.parametrize("size", [50, 10_000])
def test_a_part_with_wrong_bytes(
    size: int, register: Register, cache: Path, official: dict[str, bytes], mirrors: Mirrors
) -> None:
    """A part that some other download began ends with the wrong hash: kept aside, and begun anew."""
    register("good")
    cache.mkdir(parents=True)
    rubbish = b"\0" * min(size, len(official[IMAGES]))
    (cache / f"{IMAGES}.part").write_bytes(rubbish)
    load("tiny", progress=False)
    assert parts(cache) == sorted([IMAGES, f"{IMAGES}.part.damaged-1", LABELS])
    assert mirrors.ranges("good")[-2:] == [None, None]


def test_a_connection_that_breaks_is_resumed(
    register: Register, official: dict[str, bytes], mirrors: Mirrors
) -> None:
    """Each try brings half of the rest; the second mirror gets only what is still missing."""
    register("breaking", "good")
    load("tiny", progress=False)
    size = len(official[IMAGES])
    have, expected = 0, []
    for _ in range(_download.PATIENCE.attempts):
        expected.append(f"bytes={have}-" if have else None)
        have += max(1, (size - have) // 2)
    asked = [request for request in mirrors.requests if request.file == IMAGES]
    assert [request.range for request in asked] == [*expected, f"bytes={have}-"]
    assert asked[-1].behaviour == "good"


def test_the_next_run_goes_on(
    register: Register, cache: Path, official: dict[str, bytes], mirrors: Mirrors
) -> None:
    register("breaking")
    with pytest.raises(DatasetError, match="what has arrived is kept"):
        load("tiny", progress=False)
    have = (cache / f"{IMAGES}.part").stat().st_size
    assert 0 < have < len(official[IMAGES])
    register("good")
    load("tiny", progress=False)
    assert mirrors.ranges("good")[0] == f"bytes={have}-"
    assert parts(cache) == [IMAGES, LABELS]


def test_ctrl_c_keeps_what_has_arrived(
    register: Register, cache: Path, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("good")
    monkeypatch.setattr(_download, "BLOCK", 64)

    def interrupted(*args: object) -> object:
        def show(count: int) -> None:
            if count >= 128:
                raise KeyboardInterrupt

        return nullcontext(show)

    with monkeypatch.context() as patch:
        patch.setattr(_obtain, "bar", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load("tiny")
    assert (cache / f"{IMAGES}.part").stat().st_size == 128
    load("tiny", progress=False)
    assert mirrors.ranges("good")[1] == "bytes=128-"


# A notebook whose runtime may go at any moment: the tiny dataset from one mirror, with the bar shown.
_RUNTIME = """
import json, sys
from cosnorm.data import DATASETS, load
from cosnorm.data._source import Source, SourceFile
mirror, *files = json.loads(sys.argv[1])
forms = tuple(SourceFile(*file) for file in files)
DATASETS["tiny"] = Source("tiny", "tiny", lambda contents: contents, forms, (mirror,))
print(sorted(load("tiny")))
"""


def test_a_runtime_that_is_lost_goes_on_where_it_was(
    cache: Path, official: dict[str, bytes], mirrors: Mirrors
) -> None:
    """Killed in the middle of a file, unable to tidy up; the next one asks for the rest and shows it."""
    files = [(name, len(content), hashlib.sha256(content).hexdigest()) for name, content in official.items()]

    def start(behaviour: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _RUNTIME, json.dumps([mirrors.base(behaviour), *files])]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    part = cache / f"{IMAGES}.part"
    with start("trickling") as lost:
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size >= 20):
            assert time.monotonic() < deadline, "nothing arrived"
            time.sleep(0.02)
        lost.kill()
    have = part.stat().st_size
    assert 20 <= have < len(official[IMAGES])
    with start("good") as second:
        printed, shown = second.communicate(timeout=120)
    assert second.returncode == 0, shown
    assert printed.strip() == str([IMAGES, LABELS])
    assert mirrors.ranges("good") == [f"bytes={have}-", None]
    assert f"{IMAGES}: 100%" in shown


def test_a_slow_mirror_is_left_for_another(
    register: Register, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("trickling", "good")
    hasty = replace(_download.PATIENCE, grace=0.2)
    monkeypatch.setattr(_download, "PATIENCE", hasty)
    load("tiny", progress=False)
    begun = [request for request in mirrors.requests if request.behaviour == "good"]
    assert begun[0].range is not None  # what trickled in was not thrown away


def test_the_last_mirror_may_be_slow(
    official: dict[str, bytes], register: Register, monkeypatch: pytest.MonkeyPatch, mirrors: Mirrors
) -> None:
    register("forbidden", "good")
    seen: list[_download.Patience] = []
    real = _obtain.download

    def spy(
        url: str, part: Path, size: int, show: Callable[[int], None], patience: _download.Patience
    ) -> None:
        seen.append(patience)
        real(url, part, size, show, patience)

    monkeypatch.setattr(_obtain, "download", spy)
    load("tiny", progress=False)
    assert [patience.slowest > 0 for patience in seen] == [True, False, True, False]


def test_a_full_disk(
    register: Register, cache: Path, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says so, what has arrived stays, no further mirror is asked, and the next run goes on."""
    register("good", "forgetful")
    monkeypatch.setattr(_download, "BLOCK", 64)
    real = Path.open

    class Full:
        """A stream on a disk that takes 128 bytes."""

        def __init__(self, stream: object) -> None:
            self.stream, self.room = stream, 128

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *args: object) -> None:
            self.stream.close()

        def __getattr__(self, name: str) -> object:
            return getattr(self.stream, name)

        def write(self, block: bytes) -> None:
            if self.room < len(block):
                raise OSError(errno.ENOSPC, "No space left on device")
            self.room -= len(block)
            self.stream.write(block)

    def crowded(path: Path, mode: str = "r", *args: object, **kwargs: object) -> object:
        stream = real(path, mode, *args, **kwargs)
        return Full(stream) if path.suffix == ".part" and mode != "rb" else stream

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", crowded)
        with pytest.raises(DatasetError, match=r"\.part: No space left on device; free some space"):
            load("tiny", progress=False)
    assert (cache / f"{IMAGES}.part").stat().st_size == 128
    assert mirrors.ranges("forgetful") == []
    load("tiny", progress=False)
    assert mirrors.ranges("good")[1] == "bytes=128-"


def test_progress(register: Register, capsys: pytest.CaptureFixture[str]) -> None:
    register("forbidden", "good")
    load("tiny")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{IMAGES}: 100%" in shown.err
    assert "answered 403 Forbidden" in shown.err


def test_quiet(register: Register, capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    register("forbidden", "good")
    cache.mkdir(parents=True)
    (cache / LABELS).write_bytes(b"rubbish")
    load("tiny", progress=False)
    assert capsys.readouterr() == ("", "")


def test_progress_without_tqdm(
    register: Register, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    register("good")
    load("tiny")
    assert f"downloading {IMAGES}" in capsys.readouterr().err


def test_no_certifi(register: Register, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "certifi", None)
    register("good")
    np.testing.assert_array_equal(load("tiny", progress=False).train_inputs, pixels)
