"""The embedded digits: no file, no network, the same split everywhere."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import sklearn.datasets
from sklearn.datasets import load_digits

from cosnorm.data import Dataset, DatasetError, digits, fetch, load, status


@pytest.fixture(scope="module")
def loaded() -> Dataset:
    return load("digits")


def test_shapes_and_types(loaded: Dataset) -> None:
    assert loaded.train_inputs.shape == (1442, 8, 8)
    assert loaded.test_inputs.shape == (355, 8, 8)
    assert loaded.train_inputs.dtype == loaded.test_inputs.dtype == np.uint8
    assert loaded.train_targets.dtype == loaded.test_targets.dtype == np.int64
    assert (loaded.num_classes, loaded.features, loaded.maximum) == (10, 64, 16.0)
    assert loaded.train_inputs.max() == loaded.maximum


def test_every_image_is_on_one_side_once(loaded: Dataset) -> None:
    """As multisets of (image, label), training and test examples together are scikit-learn's."""
    images, targets = load_digits(return_X_y=True)
    both = np.concatenate([loaded.train_inputs, loaded.test_inputs]).reshape(-1, 64)
    labels = np.concatenate([loaded.train_targets, loaded.test_targets])

    def rows(pixels: np.ndarray, classes: np.ndarray) -> list[bytes]:
        return sorted(np.column_stack([pixels, classes]).astype(np.uint8).tobytes()[i * 65 : (i + 1) * 65]
                      for i in range(len(classes)))  # fmt: skip

    assert rows(both, labels) == rows(np.asarray(images), np.asarray(targets))


def test_the_split_is_stratified(loaded: Dataset) -> None:
    total = np.bincount(loaded.train_targets) + np.bincount(loaded.test_targets)
    np.testing.assert_array_equal(np.bincount(loaded.test_targets), total // digits.EVERY)


def test_the_split_by_hand() -> None:
    targets = np.array([1, 0, 1, 1, 1, 1, 0, 0, 1, 0, 0, 0])
    np.testing.assert_array_equal(np.flatnonzero(digits.is_test(targets)), [5, 10])


def test_other_data_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    images, targets = load_digits(return_X_y=True)
    images = np.array(images)
    images[7, 7] += 1
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda return_X_y: (images, targets))
    with pytest.raises(DatasetError, match="differ from those the book uses"):
        load("digits")


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DatasetError, match="pip install scikit-learn"):
        load("digits")
    assert status("digits").state == "missing"


def test_status_and_fetch() -> None:
    found = status("digits")
    assert (found.state, found.location) == ("embedded", None)
    with pytest.raises(DatasetError, match="nothing to fetch"):
        fetch("digits")


def test_arrays_are_new_at_every_call(loaded: Dataset) -> None:
    again = load("digits")
    again.train_inputs[:] = 0
    assert load("digits").train_inputs.sum() == loaded.train_inputs.sum() > 0


def test_unknown_name() -> None:
    for function in (load, fetch, status):
        with pytest.raises(
            DatasetError, match="no dataset 'fashion'; there are: digits, docstrings, mnist, newsgroups"
        ):
            function("fashion")
