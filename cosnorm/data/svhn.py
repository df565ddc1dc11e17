"""SVHN: 73 257 training and 26 032 test photographs of house numbers' digits, cropped to 32 x 32 in colour.

Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu, A. Y. Ng, "Reading digits in natural images with
unsupervised feature learning", NIPS workshop on deep learning and unsupervised feature learning, 2011. The
531 131 easier "extra" digits are not used. The official files were never at hand: their sizes and hashes are
those that several libraries publish, torchvision among them, and all agree.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cosnorm.data._photographs import Examples, photographs
from cosnorm.data._source import Source, SourceFile
from cosnorm.data.dataset import Dataset

CLASSES = tuple("0123456789")
SHAPE = (3, 32, 32)
ZERO = 10  # the label of the digit 0 in the files

TRAIN = SourceFile(
    "train_32x32.mat", 182_040_794, "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"
)
TEST = SourceFile(
    "test_32x32.mat", 64_275_384, "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"
)
FILES = (TRAIN, TEST)
EXAMPLES = {TRAIN.name: 73_257, TEST.name: 26_032}


def parse(contents: Mapping[str, bytes]) -> Dataset:
    """Make the dataset of the two files. Raises :class:`ValueError` that names the file it stumbled over.

    Images are ``(N, 3, 32, 32)``: red, green, blue; the target is the digit. ``sha256`` is what
    ``sha256sum test_32x32.mat train_32x32.mat | sha256sum`` prints in a folder that holds the files.
    """
    return photographs("svhn", contents, ([TRAIN], [TEST]), _read, CLASSES)


def _read(file: SourceFile, content: bytes) -> Examples:
    return parse_digits(content, EXAMPLES[file.name])


def parse_digits(content: bytes, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read one MATLAB 5 file of cropped digits: ``X`` is ``(32, 32, 3, count)``, ``y`` is ``(count, 1)``.

    Parameters
    ----------
    content : bytes
        The whole file.
    count : int
        How many digits it must have.

    Returns
    -------
    ndarray of uint8, shape (count, 3, 32, 32); ndarray of int64, shape (count,)
        Images and digits.

    Raises
    ------
    ValueError
        The content is not such a file, or scipy is not there to read it; the message says in what way.
    """
    variables = _matlab(content)
    images, labels = (variables.get(name, np.empty(0)) for name in ("X", "y"))
    for name, found, shape in (("X", images, (*SHAPE[1:], SHAPE[0], count)), ("y", labels, (count, 1))):
        if found.shape != shape or found.dtype != np.uint8:
            raise ValueError(f"{name} is {found.dtype} {found.shape}; the official file has uint8 {shape}")
    wrong = np.flatnonzero((labels < 1) | (labels > ZERO))
    if len(wrong):
        raise ValueError(f"label {wrong[0]} is {labels[wrong[0], 0]}; labels are 1 to {ZERO}")
    digits = labels[:, 0].astype(np.int64) % ZERO
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), digits


def _matlab(content: bytes) -> dict[str, NDArray]:
    """The variables ``X`` and ``y`` of a MATLAB 5 file, whatever else it holds."""
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError as error:
        raise ValueError("reading MATLAB files needs scipy (pip install scipy)") from error
    try:
        return loadmat(io.BytesIO(content), variable_names=["X", "y"])
    except Exception as error:
        # On damaged content scipy raises errors of many types, struct.error and zlib.error among them.
        raise ValueError(f"it is not a MATLAB 5 file that scipy can read ({error})") from error


SOURCE = Source(
    name="svhn",
    title="SVHN house numbers' digits, 32 x 32 in colour",
    parse=parse,
    files=FILES,
    mirrors=("http://ufldl.stanford.edu/housenumbers/",),
    folders=("svhn", ".", "SVHN"),
)
