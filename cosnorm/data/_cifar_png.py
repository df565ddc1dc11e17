"""CIFAR records from pictures: the last mirror holds a file's images as one PNG, and the labels as JSON.

A row of the picture is an image, its pixels in C order; PNG loses nothing, so the official bytes come back.
"""

from __future__ import annotations

import io
import json

import numpy as np
from numpy.typing import NDArray

from cosnorm.data._cifar import PIXELS


def parse_labels(content: bytes, count: int, classes: int) -> NDArray[np.uint8]:
    """Read a JSON list of ``count`` labels below ``classes``. Raises ValueError for anything else."""
    try:
        labels = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its labels are not JSON ({error})") from error
    if not isinstance(labels, list) or len(labels) != count:
        raise ValueError(f"its labels are not a list of {count}")
    if not all(type(label) is int and 0 <= label < classes for label in labels):
        raise ValueError(f"its labels are not all integers from 0 to {classes - 1}")
    return np.array(labels, dtype=np.uint8)


def records_of(png: bytes, labels: NDArray[np.uint8]) -> bytes:
    """The records of one label byte each whose images are the rows of a PNG picture.

    Raises
    ------
    ValueError
        The picture is not such a PNG, or Pillow is not there to read it; the message says in what way.
    """
    pixels = _pixels(png, (PIXELS // 3, len(labels)))
    images = pixels.transpose(0, 2, 1).reshape(len(labels), PIXELS)
    return np.concatenate([labels[:, None], images], axis=1).tobytes()


def _pixels(png: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The red, green and blue bytes of a picture of this width and height: ``(height, width, 3)``."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ValueError("reading PNG needs Pillow (pip install pillow)") from error
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
            if (picture.size, picture.mode) != (size, "RGB"):
                raise ValueError(f"its size is {picture.size} in {picture.mode}, not {size} in RGB")
            return np.asarray(picture)
    except Exception as error:
        # On damaged content Pillow raises errors of many types, SyntaxError among them.
        raise ValueError(f"its picture cannot be read: {error}") from error
