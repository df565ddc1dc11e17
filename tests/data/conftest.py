"""A tiny dataset with real IDX files, folders of its own, and a local server for its mirrors."""

from __future__ import annotations

import gzip
import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosnorm.data import DATASETS, Dataset, _download
from cosnorm.data._files import Source, SourceFile, combined_sha256
from cosnorm.data.images import parse_idx

from .mirrors import Mirrors, serve

IMAGES, LABELS = "tiny-images-idx3-ubyte.gz", "tiny-labels-idx1-ubyte.gz"
COUNT, SIDE = 40, 6
Parse = Callable[[Mapping[str, bytes]], Dataset]


def idx(array: np.ndarray) -> bytes:
    """Write an array of unsigned bytes in the IDX format."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (COUNT, SIDE, SIDE), dtype=np.uint8)


@pytest.fixture(scope="session")
def labels() -> np.ndarray:
    return (np.arange(COUNT) % 10).astype(np.uint8)


@pytest.fixture(scope="session")
def plain(pixels: np.ndarray, labels: np.ndarray) -> dict[str, bytes]:
    """The tiny dataset's uncompressed files by name."""
    return {IMAGES.removesuffix(".gz"): idx(pixels), LABELS.removesuffix(".gz"): idx(labels)}


@pytest.fixture(scope="session")
def official(plain: dict[str, bytes]) -> dict[str, bytes]:
    """The tiny dataset's official files by name."""
    return {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in plain.items()}


def describe(name: str, content: bytes) -> SourceFile:
    return SourceFile(name, len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def mirrors(official: dict[str, bytes]) -> Iterator[Mirrors]:
    with serve(dict(official)) as server:  # tests add files to it
        yield server


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


@pytest.fixture
def cache(folders: tuple[Path, Path]) -> Path:
    """Where the tiny dataset's files lie in the cache."""
    return folders[1] / "tiny"


@pytest.fixture
def register(
    folders: tuple[Path, Path],
    plain: dict[str, bytes],
    official: dict[str, bytes],
    mirrors: Mirrors,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Source]:
    """Put "tiny" into the registry, with mirrors of the given behaviours (or addresses), and return it."""
    forms = [replace(describe(f"{name}.gz", official[f"{name}.gz"]), plain=describe(name, plain[name]))
             for name in plain]  # fmt: skip

    def parse(contents: Mapping[str, bytes]) -> Dataset:
        inputs, targets = (
            parse_idx(contents[IMAGES]),
            parse_idx(contents[LABELS]).astype(np.int64),
        )
        classes = tuple("0123456789")
        return Dataset("tiny", inputs, targets, inputs, targets, classes, 255.0, combined_sha256(forms))

    def put(*behaviours: str, parse: Parse = parse) -> Source:
        bases = tuple(name if "://" in name else mirrors.base(name) for name in behaviours)
        source = Source("tiny", "tiny", parse, tuple(forms), bases, folders=("tiny", ".", "TINY/raw"))
        monkeypatch.setitem(DATASETS, "tiny", source)
        return source

    return put


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a mirror for silent after 0.8 s. Not for every test: a busy machine is silent for longer."""
    monkeypatch.setattr(_download, "PATIENCE", replace(_download.PATIENCE, timeout=0.8))


@pytest.fixture
def place(official: dict[str, bytes]) -> Callable[[Path], Path]:
    """Put the official files into a folder."""

    def put(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in official.items():
            (folder / name).write_bytes(content)
        return folder

    return put
