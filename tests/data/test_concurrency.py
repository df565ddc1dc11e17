"""Two processes that fetch the same dataset at once, and processes that were killed."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cosnorm.data import _disk, load, status
from cosnorm.data._disk import folder_lock
from cosnorm.data._npm import SCRATCH
from cosnorm.data._source import Source

from .conftest import IMAGES, LABELS
from .mirrors import Mirrors

Register = Callable[..., Source]
CHILD = """
import json, sys
from cosnorm.data._obtain import obtain
from cosnorm.data._source import Source, SourceFile
name, mirrors, files = json.loads(sys.argv[1])
source = Source(name, name, None, tuple(SourceFile(*file) for file in files), tuple(mirrors))
print("begin", flush=True)
print(sorted(obtain(source, progress=True).contents))
"""


def start(source: Source) -> subprocess.Popen[str]:
    files = [(file.name, file.size, file.sha256) for file in source.files]
    argument = json.dumps([source.name, source.mirrors, files])
    command = [sys.executable, "-c", CHILD, argument]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_one_downloads_and_the_others_wait(register: Register, cache: Path, mirrors: Mirrors) -> None:
    source = register("good")
    cache.mkdir(parents=True)
    with folder_lock(cache, lambda: None) as exclusive:
        assert exclusive
        children = [start(source) for _ in range(2)]
        first = [child.stderr.readline() for child in children if child.stderr]
        assert all("another process is fetching tiny" in line for line in first)
        assert mirrors.requests == []
    outputs = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    assert all(str([IMAGES, LABELS]) in out for out, _ in outputs)
    assert len(mirrors.requests) == 2
    assert sorted(path.name for path in cache.iterdir()) == [".lock", IMAGES, LABELS]


def test_a_killed_process_holds_no_lock(register: Register, cache: Path, mirrors: Mirrors) -> None:
    """Killed in the middle, with no chance to clean up: the next one resumes at once."""
    source = register("trickling")
    child = start(source)
    part = cache / f"{IMAGES}.part"
    poll = threading.Event()
    for _ in range(12_000):
        if part.exists() and part.stat().st_size > 3:
            break
        poll.wait(0.01)
    child.kill()
    child.communicate(timeout=120)
    assert child.returncode < 0
    have = part.stat().st_size
    assert have > 3
    register("good")
    load("tiny", progress=False)
    assert mirrors.ranges("good")[0] == f"bytes={have}-"


def test_what_killed_processes_left_is_swept(register: Register, cache: Path) -> None:
    register("good")
    (cache / f"{SCRATCH}left").mkdir(parents=True)
    (cache / f"{SCRATCH}left" / "a.tgz").write_bytes(b"x")
    (cache / f"{LABELS}.part-1234").write_bytes(b"x")
    (cache / f"{LABELS}.damaged-1").write_bytes(b"x")
    load("tiny", progress=False)
    assert sorted(path.name for path in cache.iterdir()) == [".lock", IMAGES, LABELS, f"{LABELS}.damaged-1"]


def test_a_file_system_without_locks(
    register: Register, cache: Path, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then each process writes a part of its own, and another's is neither resumed nor removed."""
    register("good")
    cache.mkdir(parents=True)
    (cache / f"{IMAGES}.part").write_bytes(b"of another process")

    def refuse(stream: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(_disk, "try_lock", refuse)
    load("tiny", progress=False)
    assert status("tiny").state == "ready"
    assert (cache / f"{IMAGES}.part").read_bytes() == b"of another process"
    assert mirrors.ranges("good") == [None, None]
