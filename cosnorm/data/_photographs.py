"""A dataset of photographs in colour from files that hold some examples each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cosnorm.data._source import SourceFile, combined_sha256
from cosnorm.data.dataset import Dataset

#: Images ``(N, 3, 32, 32)`` and targets ``(N,)``.
Examples = tuple[NDArray[np.uint8], NDArray[np.int64]]
#: Reads the examples of one file; :class:`ValueError` says what is wrong with its content.
Reader = Callable[[SourceFile, bytes], Examples]


def photographs(
    name: str,
    contents: Mapping[str, bytes],
    parts: tuple[Sequence[SourceFile], Sequence[SourceFile]],
    read: Reader,
    classes: tuple[str, ...],
) -> Dataset:
    """The dataset of the files for training and those for testing, each in their order.

    Raises
    ------
    ValueError
        If a file cannot be read; the message names it.
    """
    (train_inputs, train_targets), (test_inputs, test_targets) = (
        _joined(contents, files, read) for files in parts
    )
    return Dataset(
        name=name,
        train_inputs=train_inputs,
        train_targets=train_targets,
        test_inputs=test_inputs,
        test_targets=test_targets,
        classes=classes,
        maximum=255.0,
        sha256=combined_sha256([*parts[0], *parts[1]]),
    )


def _joined(contents: Mapping[str, bytes], files: Sequence[SourceFile], read: Reader) -> Examples:
    """The examples of several files, in new arrays."""
    images, targets = [], []
    for file in files:
        try:
            image, target = read(file, contents[file.name])
        except ValueError as error:
            raise ValueError(f"{file.name}: {error}") from error
        images.append(image)
        targets.append(target)
    return np.concatenate(images), np.concatenate(targets)
