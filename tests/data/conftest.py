"""A tiny dataset with real IDX files, folders of its own, and a local server for its mirrors."""

from __future__ import annotations

import gzip
import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cosnorm.data import DATASETS, Dataset, _download
from cosnorm.data._files import Source, SourceFile, combined_sha256
from cosnorm.data.images import parse_idx

from .mirrors import Mirrors, serve

IMAGES, LABELS = "tiny-images-idx3-ubyte.gz", "tiny-labels-idx1-ubyte.gz"
COUNT, SIDE = 40, 6


def idx(array: np.ndarray) -> bytes:
    """Write an array of unsigned bytes in the IDX format."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def describe(name: str, content: bytes) -> SourceFile:
    return SourceFile(name, len(content), hashlib.sha256(content).hexdigest())


PIXELS = np.random.default_rng(5).integers(0, 256, (COUNT, SIDE, SIDE), dtype=np.uint8)
PLAIN = {IMAGES.removesuffix(".gz"): idx(PIXELS), LABELS.removesuffix(".gz"): idx(np.arange(COUNT) % 10)}
OFFICIAL = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in PLAIN.items()}
FORMS = tuple(
    replace(describe(f"{name}.gz", OFFICIAL[f"{name}.gz"]), plain=describe(name, PLAIN[name]))
    for name in PLAIN
)


def parse(contents: Mapping[str, bytes]) -> Dataset:
    inputs, targets = parse_idx(contents[IMAGES]), parse_idx(contents[LABELS]).astype(np.int64)
    classes = tuple("0123456789")
    return Dataset("tiny", inputs, targets, inputs, targets, classes, 255.0, combined_sha256(FORMS))


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An empty ``$COSNORM_DATA`` and a ``$COSNORM_CACHE`` that does not exist yet; no proxy."""
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    monkeypatch.setenv("COSNORM_DATA", str(data))
    monkeypatch.setenv("COSNORM_CACHE", str(cache))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return data, cache


@dataclass
class Tiny:
    """The tiny dataset: the folder named by ``$COSNORM_DATA``, its place in the cache, and its mirrors."""

    data: Path
    cache: Path
    mirrors: Mirrors
    patch: pytest.MonkeyPatch

    def register(self, *behaviors: str, parse: Callable = parse, **others: Any) -> Source:
        """Put it into the registry, with mirrors of the given behaviors (or addresses), and return it."""
        bases = tuple(name if "://" in name else self.mirrors.base(name) for name in behaviors)
        source = Source("tiny", "tiny", parse, FORMS, bases, ("tiny", ".", "TINY/raw"), **others)
        self.patch.setitem(DATASETS, "tiny", source)
        return source

    def place(self, folder: Path) -> Path:
        """Put the official files into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in OFFICIAL.items():
            (folder / name).write_bytes(content)
        return folder

    def left(self) -> list[str]:
        """What there is in the cache, without the lock."""
        return sorted(path.name for path in self.cache.iterdir() if path.name != ".lock")


@pytest.fixture
def tiny(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Tiny]:
    with serve(dict(OFFICIAL)) as mirrors:  # tests add files to it
        yield Tiny(folders[0], folders[1] / "tiny", mirrors, monkeypatch)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a mirror for silent after 0.8 s. Not for every test: a busy machine is silent for longer."""
    monkeypatch.setattr(_download, "TIMEOUTS", replace(_download.TIMEOUTS, timeout=0.8))
