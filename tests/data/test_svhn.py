"""SVHN: files in MATLAB's format that the test writes, what is declared, and the real files."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from cosnorm.data import DATASETS, DatasetError, load, status, svhn
from cosnorm.data.svhn import SOURCE, parse, parse_digits

COUNT = 6
LABELS = np.array([[1], [10], [9], [2], [10], [5]], dtype=np.uint8)
IMAGES = np.random.default_rng(0).integers(0, 256, (32, 32, 3, COUNT), dtype=np.uint8)


def matlab(compress: bool = True, **variables: np.ndarray) -> bytes:
    """A file in the official format."""
    stream = io.BytesIO()
    savemat(stream, variables, do_compression=compress)
    return stream.getvalue()


SOUND = matlab(X=IMAGES, y=LABELS)


@pytest.mark.parametrize("compress", [True, False])
def test_digits_and_pixels(compress: bool) -> None:
    images, digits = parse_digits(matlab(compress, X=IMAGES, y=LABELS), COUNT)
    assert (images.dtype, digits.dtype) == (np.uint8, np.int64)
    assert digits.tolist() == [1, 0, 9, 2, 0, 5]
    assert images.shape == (COUNT, 3, 32, 32)
    assert images.flags.writeable
    assert images.flags.c_contiguous
    for image in range(COUNT):
        for channel in range(3):
            np.testing.assert_array_equal(images[image, channel], IMAGES[:, :, channel, image])


def test_other_variables_are_left_alone() -> None:
    images, _ = parse_digits(matlab(note=np.array([1.0]), X=IMAGES, y=LABELS), COUNT)
    assert len(images) == COUNT


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"X": IMAGES}, r"y is float64 \(0,\); the official file has uint8 \(6, 1\)"),
        ({"y": LABELS}, r"X is float64 \(0,\); the official file has uint8 \(32, 32, 3, 6\)"),
        ({"X": IMAGES[..., :5], "y": LABELS}, r"X is uint8 \(32, 32, 3, 5\)"),
        ({"X": IMAGES, "y": LABELS[:5]}, r"y is uint8 \(5, 1\)"),
        ({"X": IMAGES.astype(np.float64), "y": LABELS}, "X is float64"),
        ({"X": IMAGES, "y": LABELS.astype(np.int16) - 2}, "y is int16"),
        ({"X": IMAGES, "y": LABELS - 1}, "label 0 is 0; labels are 1 to 10"),
        ({"X": IMAGES, "y": LABELS + 1}, "label 1 is 11; labels are 1 to 10"),
    ],
)
def test_says_what_is_wrong(variables: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_digits(matlab(**variables), COUNT)


@pytest.mark.parametrize("content", [b"", b"<html></html>", b"\x89HDF\r\n\x1a\n" + bytes(600), SOUND[:64]])
def test_files_of_another_kind(content: bytes) -> None:
    with pytest.raises(ValueError, match="it is not a MATLAB 5 file that scipy can read"):
        parse_digits(content, COUNT)


@settings(max_examples=60)
@given(st.integers(0, len(SOUND) - 1))
def test_every_truncation_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=r"it is not a MATLAB 5 file|the official file has"):
        parse_digits(SOUND[:length], COUNT)


def test_it_needs_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ValueError, match=r"needs scipy \(pip install scipy\)"):
        parse_digits(SOUND, COUNT)


def test_the_two_files_make_the_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svhn, "EXAMPLES", {"train_32x32.mat": COUNT, "test_32x32.mat": 2})
    found = parse({"train_32x32.mat": SOUND, "test_32x32.mat": matlab(X=IMAGES[..., 1:3], y=LABELS[1:3])})
    assert found.name == "svhn"
    assert found.train_targets.tolist() == [1, 0, 9, 2, 0, 5]
    assert found.test_targets.tolist() == [0, 9]
    np.testing.assert_array_equal(found.test_inputs, found.train_inputs[1:3])
    assert (found.num_classes, found.classes[0], found.maximum) == (10, "0", 255.0)


def test_the_parser_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svhn, "EXAMPLES", {"train_32x32.mat": COUNT, "test_32x32.mat": 2})
    with pytest.raises(ValueError, match=r"^test_32x32\.mat: X is uint8 \(32, 32, 3, 6\)"):
        parse({"train_32x32.mat": SOUND, "test_32x32.mat": SOUND})


def test_what_is_declared() -> None:
    assert DATASETS["svhn"] is SOURCE
    assert svhn.EXAMPLES == {"train_32x32.mat": 73_257, "test_32x32.mat": 26_032}
    assert [file.size for file in SOURCE.files] == [182_040_794, 64_275_384]
    hashes = [file.sha256 for file in SOURCE.files]
    assert len(set(hashes)) == 2
    assert all(len(bytes.fromhex(sha256)) == 32 for sha256 in hashes)


def test_missing_files_without_network(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("COSNORM_DATA", str(folder))
    monkeypatch.setenv("COSNORM_CACHE", str(folder / "cache"))
    (folder / "svhn").mkdir()
    (folder / "svhn" / "test_32x32.mat").write_bytes(SOUND)
    with pytest.raises(DatasetError, match=r"test_32x32\.mat is truncated: it has \d+ of 64275384 bytes"):
        load("svhn", progress=False)


def test_real_counts() -> None:
    """The class counts that the data's own paper and everybody's loader give, digit 0 first."""
    found = status("svhn")
    if found.state != "ready":
        pytest.skip(f"real SVHN is not on this machine ({found.state}); set COSNORM_DATA to have it tested")
    real = load("svhn", progress=False)
    train = [4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659]
    test = [1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595]
    assert np.bincount(real.train_targets).tolist() == train
    assert np.bincount(real.test_targets).tolist() == test
