"""Downloads from mirrors of every kind, on a server of the test's own: right data or a clear error."""

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

from cosnorm.data import DatasetError, _download, fetch, load, status

from .conftest import IMAGES, LABELS, OFFICIAL, PIXELS, Tiny


def test_a_good_mirror(tiny: Tiny) -> None:
    tiny.register("good")
    np.testing.assert_array_equal(load("tiny").train_inputs, PIXELS)
    assert tiny.left() == [IMAGES, LABELS]
    assert status("tiny").state == "ready"
    assert fetch("tiny") == tiny.cache
    assert len(tiny.mirrors.requests) == 2


BAD = [
    ("forbidden", "answered 403 Forbidden"),
    ("page", "offers 27 bytes instead of"),
    ("corrupt", "gave a file with the wrong sha256"),
    ("short", r"broke off after \d+ of \d+ bytes"),
    ("endless", r"sends more than \d+ bytes"),
    ("breaking", r"broke off after \d+ of \d+ bytes"),
    ("breaking_at_once", r"broke off after 0 of \d+ bytes"),
    ("silent", "cannot be reached: no answer for 0.8 s"),
    ("stalling", "broke off: no answer for 0.8 s"),
    ("babbling", "cannot be reached: "),
    ("nobody", r"cannot be reached: .*refused"),
]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(("behaviour", "message"), BAD)
def test_a_bad_mirror(tiny: Tiny, behaviour: str, message: str) -> None:
    """Alone: one error that says what it did, and how to go on by hand. Before a good one: the data."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        if behaviour == "nobody":
            behaviour = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        source = tiny.register(behaviour)
        with pytest.raises(DatasetError, match=message) as caught:
            load("tiny", progress=False)
        text = str(caught.value)
        assert f"{source.mirrors[0]}{IMAGES} " in text
        assert "By hand: put these files into" in text
        assert "what has arrived is kept" in text
        assert not (tiny.cache / IMAGES).exists()
        assert status("tiny").state == "missing"
        if behaviour == "endless":
            assert (tiny.cache / f"{IMAGES}.part").stat().st_size <= 1500 + _download.BLOCK
        tiny.register(behaviour, "good")
        np.testing.assert_array_equal(load("tiny", progress=False).train_inputs, PIXELS)
    assert tiny.left() == [IMAGES, LABELS]


@pytest.mark.usefixtures("hasty")
def test_an_unreachable_mirror_is_asked_once(tiny: Tiny) -> None:
    tiny.register("silent", "good")
    load("tiny", progress=False)
    asked = [(request.behaviour, request.file) for request in tiny.mirrors.requests]
    assert asked == [("silent", IMAGES), ("good", IMAGES), ("good", LABELS)]


def test_a_file_that_is_gzipped_stays_so(tiny: Tiny) -> None:
    """Some servers take a .gz file for a compressed answer; unpacked, it would have another hash."""
    tiny.register("encoded")
    np.testing.assert_array_equal(load("tiny", progress=False).train_inputs, PIXELS)


RUBBISH = b"\0" * 10_000
PARTS = [
    ("good", lambda content: content[:100], ["bytes=100-"]),
    ("forgetful", lambda content: content[:100], ["bytes=100-"]),
    ("stubborn", lambda content: content[:100], ["bytes=100-", None]),
    ("good", lambda content: content, []),
    ("good", lambda content: content + content[:9], [None]),
    ("good", lambda content: RUBBISH[:50], ["bytes=50-", None]),
    ("good", lambda content: RUBBISH[: len(content)], [None]),
]


@pytest.mark.parametrize(("behaviour", "begun", "ranges"), PARTS)
def test_a_part_that_was_begun(
    tiny: Tiny, behaviour: str, begun: Callable[[bytes], bytes], ranges: list[str | None]
) -> None:
    """It is completed, whether the server resumes, ignores the wish or refuses it; rubbish is begun again."""
    tiny.register(behaviour)
    tiny.cache.mkdir(parents=True)
    (tiny.cache / f"{IMAGES}.part").write_bytes(begun(OFFICIAL[IMAGES]))
    load("tiny", progress=False)
    assert tiny.left() == [IMAGES, LABELS]
    assert (tiny.cache / IMAGES).read_bytes() == OFFICIAL[IMAGES]
    assert [request.range for request in tiny.mirrors.requests if request.file == IMAGES] == ranges


def test_a_server_that_resumes_elsewhere(tiny: Tiny) -> None:
    """Its bytes would land in the wrong place: they are not taken, and the next mirror goes on."""
    tiny.register("misplacing", "good")
    tiny.cache.mkdir(parents=True)
    (tiny.cache / f"{IMAGES}.part").write_bytes(OFFICIAL[IMAGES][:100])
    load("tiny", progress=False)
    assert tiny.left() == [IMAGES, LABELS]
    assert tiny.mirrors.ranges("misplacing") == ["bytes=100-", None]
    assert tiny.mirrors.ranges("good") == ["bytes=100-"]


def test_a_connection_that_breaks_is_resumed(tiny: Tiny) -> None:
    """Each attempt brings half of the rest; the second mirror gets only what is still missing."""
    tiny.register("breaking", "good")
    load("tiny", progress=False)
    size = len(OFFICIAL[IMAGES])
    have, expected = 0, []
    for _ in range(_download.TIMEOUTS.attempts):
        expected.append(f"bytes={have}-" if have else None)
        have += max(1, (size - have) // 2)
    asked = [request for request in tiny.mirrors.requests if request.file == IMAGES]
    assert [request.range for request in asked] == [*expected, f"bytes={have}-"]
    assert asked[-1].behaviour == "good"


def test_ctrl_c_keeps_what_has_arrived(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.register("good")
    monkeypatch.setattr(_download, "BLOCK", 64)

    def interrupted(*args: object) -> object:
        def show(count: int, size: int | None) -> None:
            if count >= 128:
                raise KeyboardInterrupt

        return nullcontext(show)

    with monkeypatch.context() as patch:
        patch.setattr(_download, "_bar", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load("tiny")
    assert tiny.left() == [f"{IMAGES}.part"]
    assert (tiny.cache / f"{IMAGES}.part").stat().st_size == 128
    load("tiny", progress=False)
    assert tiny.mirrors.ranges("good")[1] == "bytes=128-"


def test_a_slow_mirror_is_left_for_another(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """What trickled in is not thrown away. The last mirror may be as slow as it likes."""
    tiny.register("trickling", "good")
    monkeypatch.setattr(_download, "TIMEOUTS", replace(_download.TIMEOUTS, grace=0.2))
    load("tiny", progress=False)
    assert tiny.mirrors.ranges("good")[0] is not None


def test_the_last_mirror_may_be_slow(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.register("forbidden", "good")
    slowest, real = [], _download._Resuming.fill

    def spy(download: _download._Resuming, url: str) -> None:
        slowest.append(download.timeouts.slowest)
        real(download, url)

    monkeypatch.setattr(_download._Resuming, "fill", spy)
    load("tiny", progress=False)
    assert [limit > 0 for limit in slowest] == [True, False, True, False]


class FullDisk:
    """A stream on a disk that takes 128 bytes."""

    def __init__(self, stream: object) -> None:
        self.stream, self.room = stream, 128

    def __enter__(self) -> FullDisk:
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


def test_a_full_disk(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says so, what has arrived stays, no further mirror is asked, and the next run goes on."""
    tiny.register("good", "forgetful")
    monkeypatch.setattr(_download, "BLOCK", 64)
    real = Path.open

    def crowded(path: Path, mode: str = "r", *args: object, **kwargs: object) -> object:
        stream = real(path, mode, *args, **kwargs)
        return FullDisk(stream) if path.suffix == ".part" and mode != "rb" else stream

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", crowded)
        with pytest.raises(DatasetError, match=r"\.part: No space left on device; free some space"):
            load("tiny", progress=False)
    assert (tiny.cache / f"{IMAGES}.part").stat().st_size == 128
    assert tiny.mirrors.ranges("forgetful") == []
    load("tiny", progress=False)
    assert tiny.mirrors.ranges("good")[1] == "bytes=128-"


def test_progress(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    """A bar, and what went wrong; nothing of pooch's own, and nothing at all where none is wanted."""
    tiny.register("forbidden", "good")
    load("tiny")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{IMAGES}: 100%" in shown.err
    assert "answered 403 Forbidden" in shown.err
    assert "SHA256" not in shown.err
    assert "Downloading data" not in shown.err


def test_quiet(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.register("forbidden", "good")
    tiny.cache.mkdir(parents=True)
    (tiny.cache / LABELS).write_bytes(b"rubbish")
    load("tiny", progress=False)
    assert capsys.readouterr() == ("", "")


def test_progress_without_tqdm(
    tiny: Tiny, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    tiny.register("good")
    load("tiny")
    assert f"downloading {IMAGES}" in capsys.readouterr().err


# Several processes

CHILD = """
import json, sys
from cosnorm.data._download import obtain
from cosnorm.data._files import Source, SourceFile
mirror, *files = json.loads(sys.argv[1])
source = Source("tiny", "tiny", None, tuple(SourceFile(*file) for file in files), (mirror,))
print(sorted(obtain(source, progress=True).contents))
"""


@pytest.fixture
def start(tiny: Tiny) -> Callable[[str], subprocess.Popen]:
    """Fetch the tiny dataset in another process, from a mirror of the given behaviour."""
    files = [(name, len(content), hashlib.sha256(content).hexdigest()) for name, content in OFFICIAL.items()]

    def run(behaviour: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", CHILD, json.dumps([tiny.mirrors.base(behaviour), *files])]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return run


def test_one_downloads_and_the_others_wait(tiny: Tiny, start: Callable) -> None:
    with _download._locked(tiny.cache, lambda: None) as exclusive:
        assert exclusive
        children = [start("good") for _ in range(2)]
        first = [child.stderr.readline() for child in children]
        assert all("another process is fetching tiny" in line for line in first)
        assert tiny.mirrors.requests == []
    outputs = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    assert all(str([IMAGES, LABELS]) in out for out, _ in outputs)
    assert len(tiny.mirrors.requests) == 2
    assert tiny.left() == [IMAGES, LABELS]


def test_a_killed_process_is_gone_on_with(tiny: Tiny, start: Callable) -> None:
    """Killed in the middle of a file, unable to tidy up; the next one asks for the rest and sweeps up."""
    part = tiny.cache / f"{IMAGES}.part"
    with start("trickling") as lost:
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size >= 20):
            assert time.monotonic() < deadline, "nothing arrived"
            time.sleep(0.02)
        lost.kill()
    have = part.stat().st_size
    assert 20 <= have < len(OFFICIAL[IMAGES])
    with start("good") as second:
        printed, shown = second.communicate(timeout=120)
    assert second.returncode == 0, shown
    assert printed.strip() == str([IMAGES, LABELS])
    assert tiny.mirrors.ranges("good") == [f"bytes={have}-", None]
    assert f"{IMAGES}: 100%" in shown
    assert tiny.left() == [IMAGES, LABELS]


def test_what_killed_processes_left_is_swept(tiny: Tiny) -> None:
    tiny.register("good")
    tiny.cache.mkdir(parents=True)
    for name in ("tmpabc", f"{LABELS}.part-1234", f".{LABELS}.1234.part", f"{LABELS}.damaged-1"):
        (tiny.cache / name).write_bytes(b"x")
    load("tiny", progress=False)
    assert tiny.left() == [IMAGES, LABELS, f"{LABELS}.damaged-1"]


def test_a_file_system_without_locks(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then each process writes a part of its own, and another's is neither resumed nor removed."""
    tiny.register("good")
    tiny.cache.mkdir(parents=True)
    (tiny.cache / f"{IMAGES}.part").write_bytes(b"of another process")

    def refuse(lock: object, timeout: float = -1) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(_download.FileLock, "acquire", refuse)
    load("tiny", progress=False)
    assert status("tiny").state == "ready"
    assert (tiny.cache / f"{IMAGES}.part").read_bytes() == b"of another process"
    assert tiny.mirrors.ranges("good") == [None, None]
