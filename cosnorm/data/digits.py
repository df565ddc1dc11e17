"""The small digits that scikit-learn carries inside it: 1797 images of 8 x 8 pixels, values 0 to 16.

They are the test part of E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits",
UCI Machine Learning Repository, 1998, and need neither a network nor a file on disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cosnorm.data._files import Source
from cosnorm.data.dataset import Dataset, DatasetError

CLASSES = tuple("0123456789")
EVERY = 5
SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def is_test(targets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Select every fifth example of each class, in the order of the file, for testing.

    There is no official split of these 1797 images. This one keeps the proportions of the classes (1442
    training and 355 test examples) and draws nothing at random, so that it is the same with every
    version of every library. A writer may appear on both sides, so it does not measure performance on new
    writers.
    """
    chosen = np.zeros(targets.shape, dtype=np.bool_)
    for label in np.unique(targets):
        chosen[np.flatnonzero(targets == label)[EVERY - 1 :: EVERY]] = True
    return chosen


def _parse(contents: Mapping[str, bytes]) -> Dataset:
    # sha256 covers the 1797 x 64 pixels and then the 1797 labels, one byte each, in the order of the file.
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        message = "the digits come with scikit-learn, which is not installed; run: pip install scikit-learn"
        raise DatasetError(message) from error
    inputs, targets = load_digits(return_X_y=True)
    inputs, targets = np.asarray(inputs), np.asarray(targets)
    pixels = inputs.reshape(-1, 8, 8).astype(np.uint8)
    found = hashlib.sha256(pixels.tobytes() + targets.astype(np.uint8).tobytes()).hexdigest()
    if found != SHA256:
        raise DatasetError(
            f"the digits of this scikit-learn differ from those the book uses (sha256 {found}, not {SHA256});"
            " run: pip install --force-reinstall scikit-learn"
        )
    labels, test = targets.astype(np.int64), is_test(targets)
    return Dataset(
        name="digits",
        train_inputs=pixels[~test],
        train_targets=labels[~test],
        test_inputs=pixels[test],
        test_targets=labels[test],
        classes=CLASSES,
        maximum=16.0,
        sha256=found,
    )


SOURCE = Source(name="digits", title="scikit-learn's embedded 8 x 8 digits", parse=_parse)
