"""MNIST, CIFAR and SVHN: their formats on small files, what is declared, and the real files where at hand."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.io import savemat

from cosnorm.data import DATASETS, Dataset, DatasetError, images, load, status
from cosnorm.data._files import Source
from cosnorm.data.images import parse_idx, parse_records
from cosnorm.data.svhn import parse_digits

from .conftest import describe, idx
from .mirrors import serve
from .test_archive import pack

SOURCES = [images.MNIST, images.CIFAR10, images.CIFAR100, images.SVHN]
COUNT = 4  # examples in each small file


# The formats


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6)), st.booleans())
def test_idx_reads_back_what_was_written(array: np.ndarray, packed: bool) -> None:
    found = parse_idx(gzip.compress(idx(array)) if packed else idx(array))
    assert found.dtype == np.uint8
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)


def records(labels: int, seed: int) -> bytes:
    """A small file of CIFAR: in each record the label bytes, then 3072 bytes."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 10, (COUNT, labels), dtype=np.uint8)
    return np.concatenate([targets, rng.integers(0, 256, (COUNT, 3072), dtype=np.uint8)], axis=1).tobytes()


@pytest.mark.parametrize("labels", [1, 2])
def test_every_byte_of_a_record_is_read_where_it_lies(labels: int) -> None:
    content = records(labels, 0)
    pixels, targets = parse_records(content, labels)
    assert (pixels.dtype, targets.dtype, pixels.shape) == (np.uint8, np.int64, (COUNT, 3, 32, 32))
    assert pixels.flags.writeable
    size = labels + 3072
    for record in range(COUNT):
        assert targets[record] == content[record * size + labels - 1]
        for channel, row, column in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2, 31, 31), (1, 17, 5)):
            offset = record * size + labels + 1024 * channel + 32 * row + column
            assert pixels[record, channel, row, column] == content[offset]


DIGITS = np.array([[1], [10], [9], [2]], dtype=np.uint8)
PHOTOGRAPHS = np.random.default_rng(0).integers(0, 256, (32, 32, 3, COUNT), dtype=np.uint8)


def matlab(compress: bool = True, **variables: np.ndarray) -> bytes:
    """A file in the format of SVHN."""
    stream = io.BytesIO()
    savemat(stream, variables, do_compression=compress)
    return stream.getvalue()


SOUND = matlab(note=np.array([1.0]), X=PHOTOGRAPHS, y=DIGITS)


@pytest.mark.parametrize("compress", [True, False])
def test_digits_and_pixels(compress: bool) -> None:
    pixels, digits = parse_digits(matlab(compress, X=PHOTOGRAPHS, y=DIGITS), COUNT)
    assert (pixels.dtype, digits.dtype) == (np.uint8, np.int64)
    assert digits.tolist() == [1, 0, 9, 2]
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, np.moveaxis(PHOTOGRAPHS, (3, 2), (0, 1)))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"X": PHOTOGRAPHS}, r"y is float64 \(0,\); the official file has uint8 \(4, 1\)"),
        ({"y": DIGITS}, r"X is float64 \(0,\); the official file has uint8 \(32, 32, 3, 4\)"),
        ({"X": PHOTOGRAPHS[..., :3], "y": DIGITS}, r"X is uint8 \(32, 32, 3, 3\)"),
        ({"X": PHOTOGRAPHS, "y": DIGITS[:3]}, r"y is uint8 \(3, 1\)"),
        ({"X": PHOTOGRAPHS.astype(np.float64), "y": DIGITS}, "X is float64"),
        ({"X": PHOTOGRAPHS, "y": DIGITS - 1}, "label 0 is 0; labels are 1 to 10"),
        ({"X": PHOTOGRAPHS, "y": DIGITS + 1}, "label 1 is 11; labels are 1 to 10"),
    ],
)
def test_digits_say_what_is_wrong(variables: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_digits(matlab(**variables), COUNT)


@settings(max_examples=40)
@given(st.integers(0, len(SOUND) - 1))
def test_every_truncation_of_digits_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=r"it is not a MATLAB 5 file|the official file has"):
        parse_digits(SOUND[:length], COUNT)


def test_digits_need_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ValueError, match=r"needs scipy \(pip install scipy\)"):
        parse_digits(SOUND, COUNT)


# What is declared


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_what_is_declared(source: Source) -> None:
    assert DATASETS[source.name] is source
    hashes = [form.sha256 for file in source.files for form in file.forms]
    assert len(set(hashes)) == len(hashes)
    assert all(len(bytes.fromhex(sha256)) == 32 for sha256 in hashes)
    assert all(mirror.endswith("/") for mirror in source.mirrors)
    if source is not images.SVHN:
        assert len(source.mirrors) >= 2
        assert all(mirror.startswith("https://") for mirror in source.mirrors)
    if source.archive is not None:
        assert set(source.archive.files) == {file.name for file in source.files}
        assert source.archive.limit > sum(file.size for file in source.files)


def test_declared_sizes() -> None:
    """Of plain IDX: 4 bytes, 4 for each dimension, and one for each value."""
    plain = [file.plain.size for file in images.MNIST.files if file.plain]
    assert plain == [16 + 60_000 * 784, 8 + 60_000, 16 + 10_000 * 784, 8 + 10_000]
    assert [file.size for file in images.CIFAR10.files] == 6 * [10_000 * 3073]
    assert [file.size for file in images.CIFAR100.files] == [50_000 * 3074, 10_000 * 3074]
    assert [file.size for file in images.SVHN.files] == [182_040_794, 64_275_384]


def test_the_hundred_classes_are_in_their_official_order() -> None:
    """The official list is in alphabetical order."""
    assert len(set(images.CIFAR100_CLASSES)) == 100
    assert list(images.CIFAR100_CLASSES) == sorted(images.CIFAR100_CLASSES)
    assert [images.CIFAR100_CLASSES[label] for label in (19, 49, 71)] == ["cattle", "mountain", "sea"]


# Small files in the place of the official ones


@pytest.fixture
def small(folders: object, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, bytes]]:
    """Register a dataset with small files, with no mirrors but those given, and return their contents."""
    monkeypatch.setattr(images, "SVHN_COUNTS", dict.fromkeys(images.SVHN_COUNTS, COUNT))

    def put(source: Source, *mirrors: str) -> dict[str, bytes]:
        if source is images.SVHN:
            contents = dict.fromkeys(images.SVHN_COUNTS, SOUND)
        else:
            labels = 1 if source is images.CIFAR10 else 2
            contents = {file.name: records(labels, seed) for seed, file in enumerate(source.files)}
        files = tuple(describe(name, content) for name, content in contents.items())
        monkeypatch.setitem(DATASETS, source.name, replace(source, files=files, mirrors=mirrors))
        return contents

    return put


@pytest.mark.parametrize("source", [images.CIFAR10, images.CIFAR100], ids=lambda source: source.name)
def test_the_official_archive(
    source: Source, small: Callable[..., dict[str, bytes]], folders: tuple[Path, Path]
) -> None:
    archive, contents = source.archive, small(source)
    assert archive is not None
    members = {f"{archive.folder}/{name}": content for name, content in contents.items()}
    with serve({archive.name: pack({f"{archive.folder}/readme.html": b"<html>", **members})}) as mirrors:
        small(source, mirrors.base("good"))
        load(source.name, progress=False)
    cache = folders[1] / source.name
    assert sorted(path.name for path in cache.iterdir()) == sorted([".lock", *contents])


@pytest.mark.parametrize("source", SOURCES[1:], ids=lambda source: source.name)
def test_photographs(
    source: Source, small: Callable[..., dict[str, bytes]], folders: tuple[Path, Path]
) -> None:
    """Found in the folder that holds unpacked files; the parts are in order, and arrays are new each time."""
    contents = small(source)
    folder = folders[0] / source.folders[0]
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    found, again = load(source.name, progress=False), load(source.name, progress=False)
    assert status(source.name).location == folder
    if source is images.SVHN:
        parts = [parse_digits(content, COUNT) for content in contents.values()]
    else:
        parts = [
            parse_records(content, 1 if source is images.CIFAR10 else 2) for content in contents.values()
        ]
    for inputs, targets, which in (
        (found.train_inputs, found.train_targets, parts[:-1]),
        (found.test_inputs, found.test_targets, parts[-1:]),
    ):
        np.testing.assert_array_equal(inputs, np.concatenate([part[0] for part in which]))
        np.testing.assert_array_equal(targets, np.concatenate([part[1] for part in which]))
    assert (found.name, found.maximum) == (source.name, 255.0)
    assert isinstance(found.train_inputs, np.ndarray)
    found.train_inputs[...] = found.train_targets[...] = 0
    assert again.train_inputs.any()
    assert again.train_targets.any()


# The real files


def real_or_skip(name: str) -> Dataset:
    found = status(name)
    if found.state != "ready":
        pytest.skip(f"real {name} is not on this machine ({found.state}); set COSNORM_DATA to have it tested")
    return load(name, progress=False)


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return real_or_skip("mnist")


@pytest.fixture(scope="module")
def cifar10() -> Dataset:
    return real_or_skip("cifar10")


def test_real_shapes(mnist: Dataset, cifar10: Dataset) -> None:
    assert (mnist.train_inputs.shape, mnist.test_inputs.shape) == ((60_000, 28, 28), (10_000, 28, 28))
    assert (mnist.num_classes, mnist.features, mnist.maximum) == (10, 784, 255.0)
    assert cifar10.train_inputs.shape == (50_000, 3, 32, 32)
    assert cifar10.test_inputs.shape == (10_000, 3, 32, 32)
    assert (cifar10.num_classes, cifar10.features, cifar10.maximum) == (10, 3072, 255.0)
    assert (cifar10.classes[0], cifar10.classes[9]) == ("airplane", "truck")
    for real in (mnist, cifar10):
        assert real.train_inputs.dtype == real.test_inputs.dtype == np.uint8
        assert real.train_targets.dtype == real.test_targets.dtype == np.int64


def test_real_class_counts(mnist: Dataset, cifar10: Dataset) -> None:
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(mnist.train_targets).tolist() == train
    assert np.bincount(mnist.test_targets).tolist() == test
    assert np.bincount(cifar10.train_targets).tolist() == 10 * [5000]
    assert np.bincount(cifar10.test_targets).tolist() == 10 * [1000]


def test_real_statistics(mnist: Dataset, cifar10: Dataset) -> None:
    """The means and standard deviations that everybody normalizes these datasets with."""
    channels = [np.asarray(mnist.train_inputs), *np.moveaxis(np.asarray(cifar10.train_inputs), 1, 0)]
    means, deviations = [0.1307, 0.4914, 0.4822, 0.4465], [0.3081, 0.2470, 0.2435, 0.2616]
    for channel, mean, deviation in zip(channels, means, deviations, strict=True):
        values, share = np.arange(256) / 255, np.bincount(channel.ravel(), minlength=256) / channel.size
        assert values @ share == pytest.approx(mean, abs=5e-5)
        assert np.sqrt((values - values @ share) ** 2 @ share) == pytest.approx(deviation, abs=5e-5)


def test_real_first_labels(mnist: Dataset, cifar10: Dataset) -> None:
    """Of CIFAR-10, as every tutorial shows them: frog, truck, truck, deer, automobile; cat, ship, ship."""
    assert mnist.train_targets[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.test_targets[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert cifar10.train_targets[:5].tolist() == [6, 9, 9, 4, 1]
    assert cifar10.test_targets[:3].tolist() == [3, 8, 8]


def test_real_images_belong_to_their_labels(mnist: Dataset) -> None:
    """The nearest of the ten mean training images is right for 82 % of the test images."""
    digits = [mnist.train_inputs[mnist.train_targets == label] for label in range(10)]
    means = np.stack([digit.mean(0).ravel() for digit in digits]).astype(np.float32)
    test = mnist.test_inputs.reshape(-1, 784).astype(np.float32)
    nearest = ((means**2).sum(1) - 2 * test @ means.T).argmin(1)
    assert (nearest == mnist.test_targets).mean() == pytest.approx(0.82, abs=0.01)


def test_real_photographs_stand_upright(cifar10: Dataset) -> None:
    """The sky is above: airplanes, ships and trucks are lighter at the top than at the bottom, and bluer."""
    for label in (0, 8, 9):
        chosen = cifar10.train_inputs[cifar10.train_targets == label]
        assert chosen[:, :, :8].mean() > chosen[:, :, 24:].mean() + 15
        top = chosen[:, :, :8].mean((0, 2, 3))
        assert top[2] > top[0]


def test_real_sha256(mnist: Dataset, cifar10: Dataset) -> None:
    """What ``sha256sum * | sha256sum`` prints in a folder with the official files."""
    for real, source in ((mnist, images.MNIST), (cifar10, images.CIFAR10)):
        lines = sorted((file.name, f"{file.sha256}  {file.name}\n") for file in source.files)
        assert real.sha256 == hashlib.sha256("".join(line for _, line in lines).encode()).hexdigest()
    assert cifar10.sha256 == "5fdcf57d170bdbc7da569af1dabd64d7d3c7507e9e7aa861fc7b691d5355c232"


@pytest.mark.parametrize("name", ["cifar100", "svhn"])
def test_real_counts(name: str) -> None:
    """Those that the papers and everybody's loaders give, digit 0 first."""
    real = real_or_skip(name)
    train, test = 100 * [500], 100 * [100]
    if name == "svhn":
        train = [4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659]
        test = [1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595]
    assert np.bincount(real.train_targets).tolist() == train
    assert np.bincount(real.test_targets).tolist() == test


# Without the libraries that only a download and some files need

BARE = """
import sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"pooch", "tqdm", "sklearn", "scipy", "rich", "typer", "matplotlib",
                                      "sympy", "requests", "certifi"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
import cosnorm.data
try:
    print(cosnorm.data.load(sys.argv[1]))
except cosnorm.data.DatasetError as error:
    print("DatasetError", error)
"""
ANSWERS = [
    ("mnist", "data", "60000 training and 10000 test examples"),
    ("mnist", "nowhere", "DatasetError mnist: a download needs pooch; install it (pip install pooch)"),
    ("docstrings", "nowhere", "1600 training and 400 test examples"),
    ("digits", "nowhere", "DatasetError the digits come with scikit-learn, which is not installed"),
]


@pytest.mark.parametrize(("name", "place", "answer"), ANSWERS)
def test_with_torch_and_numpy_alone(
    name: str, place: str, answer: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environment = {**os.environ, "COSNORM_DATA": str(tmp_path)}
    environment.pop("COSNORM_CACHE", None)
    if place == "data":
        request.getfixturevalue(name)
        environment["COSNORM_DATA"] = str(status(name).location)
    command = [sys.executable, "-c", BARE, name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert answer in done.stdout


def test_a_truncated_file_is_named(folders: tuple[Path, Path]) -> None:
    (folders[0] / "train-labels-idx1-ubyte.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(
        DatasetError, match=r"train-labels-idx1-ubyte.gz is truncated: it has 2 of 28881 bytes"
    ):
        load("mnist")
