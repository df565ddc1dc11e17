"""The binary format of the CIFAR files: records of one size, each some label bytes and then an image.

An image is 3072 bytes: the red, the green and the blue values, 32 x 32 each in C order.
Described at https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32

#: Folders on the web that hold the archives of both datasets.
MIRRORS = (
    "https://www.cs.toronto.edu/~kriz/",
    "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/",
)


def record_size(labels: int) -> int:
    """Bytes of one example that has ``labels`` label bytes."""
    return labels + PIXELS


def parse_records(
    content: bytes, count: int, classes: tuple[int, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read one file of ``count`` records.

    Parameters
    ----------
    content : bytes
        The whole file.
    count : int
        How many records it must have.
    classes : tuple of int
        For each label byte of a record, how many classes there are: the label must be below.

    Returns
    -------
    ndarray of uint8, shape (count, 3, 32, 32); ndarray of int64, shape (count, len(classes))
        Images, which still lie in ``content`` and are read-only, and labels.

    Raises
    ------
    ValueError
        The content is not such a file; the message says in what way.
    """
    size = record_size(len(classes))
    if len(content) != count * size:
        raise ValueError(f"it has {len(content)} bytes; {count} records of {size} bytes are {count * size}")
    records = np.frombuffer(content, dtype=np.uint8).reshape(count, size)
    labels = records[:, : len(classes)].astype(np.int64)
    wrong = np.argwhere(labels >= np.array(classes))
    if len(wrong):
        record, place = wrong[0]
        label = labels[record, place]
        raise ValueError(f"label {label} of record {record} is not one of {classes[place]} classes")
    return records[:, len(classes) :].reshape(count, *SHAPE), labels
