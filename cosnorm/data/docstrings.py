"""Docstrings of ten parts of scientific Python as bags of words: real text that needs no download.

The class of a docstring is the part of the library that it documents, :data:`CLASSES`. The file
``docstrings.npz`` in this folder holds the word counts of each docstring, and not its text;
``python -m tools.docstring_corpus`` made it from the versions that constraints.txt pins (NumPy 2.4.6,
SciPy 1.17.1, scikit-learn 1.9.1, Matplotlib 3.11.2, PyTorch 2.13.0, NetworkX 3.6.1, SymPy 1.14.0).

Copyright of the documentation: the NumPy, SciPy, scikit-learn, PyTorch, NetworkX and SymPy developers, each
under a three-clause BSD licence, and the Matplotlib Development Team, under Matplotlib's licence, which
follows that of the Python Software Foundation. Each licence comes with the library.

A word is a run of at least three letters, in lower case; lines of examples (``>>>``) and directives (``..``)
do not count, nor do the words that name a library or a class, nor those that one docstring alone has. Only
docstrings with at least 20 different words are there, at most 220 per class, drawn at random. Of any two
whose sets of words overlap by more than 60 % (intersection over union) one was left out, so that no inherited
or copied docstring is in both the training and the test set, the latter being every fifth of a class.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cosnorm.data import text
from cosnorm.data._files import Source
from cosnorm.data.dataset import Dataset, DatasetError
from cosnorm.data.rows import SparseRows
from cosnorm.data.text import TextPreparation

CLASSES = (
    "matplotlib",
    "networkx",
    "numpy",
    "scipy.optimize",
    "scipy.signal",
    "scipy.sparse",
    "scipy.stats",
    "sklearn",
    "sympy",
    "torch.nn",
)
FILE = Path(__file__).with_name("docstrings.npz")
SHA256 = "3deeb0de2172989e6c58332ee911a3ad9e880318711c81724b1df3a8d4e2032a"
TYPES = {
    "counts": np.uint16,  # of every word of every docstring, one docstring after another
    "words": np.uint16,  # the word of each count, an index into the vocabulary; ascending in a docstring
    "lengths": np.uint16,  # how many different words each docstring has
    "targets": np.uint8,  # the class of each docstring, ascending
    "test": np.bool_,  # whether it is for testing
    "vocabulary": np.uint8,  # the words in ascending order, as text, one per line
    "names": np.uint8,  # where each docstring comes from, as text, one per line
}


def _parse(contents: Mapping[str, bytes], settings: TextPreparation) -> Dataset:
    # sha256 covers the arrays of the file, in the order and with the types of TYPES, and not the settings.
    arrays = read(FILE)
    found = fingerprint(arrays)
    if found != SHA256:
        raise _unusable(f"is not the one that belongs here (sha256 {found}, not {SHA256})")
    lengths, test = arrays["lengths"], arrays["test"]
    shape = (len(lengths), len(arrays["vocabulary"].tobytes().split()))
    document = np.repeat(np.arange(len(lengths)), lengths)
    rows = SparseRows.from_entries(document, arrays["words"], arrays["counts"], shape=shape)
    targets = arrays["targets"].astype(np.int64)
    train, test = (text.Documents(rows[np.flatnonzero(chosen)], targets[chosen]) for chosen in (~test, test))
    return text.dataset("docstrings", train, test, settings, classes=CLASSES, sha256=found)


def read(path: Path) -> dict[str, NDArray]:
    """The arrays of the file by name."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            return {name: stored[name] for name in TYPES}
    except Exception as error:  # a damaged archive ends in one of a dozen types
        raise _unusable(f"cannot be read ({error})") from error


def fingerprint(arrays: Mapping[str, NDArray]) -> str:
    """The SHA-256 of the arrays' lengths and bytes, little-endian."""
    digest = hashlib.sha256()
    for name, dtype in TYPES.items():
        content = arrays[name].astype(np.dtype(dtype).newbyteorder("<")).tobytes()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def _unusable(reason: str) -> DatasetError:
    return DatasetError(
        f"{FILE} {reason}; it comes with the package: run pip install --force-reinstall --no-deps cosnorm"
    )


SOURCE = Source(
    name="docstrings",
    title="docstrings of scientific Python, TF-IDF of bags of words",
    parse=_parse,
    preparation=TextPreparation,
)
