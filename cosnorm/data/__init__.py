"""The datasets of the book: found, verified, downloaded if need be, and parsed.

>>> from cosnorm.data import load
>>> load("digits")
Dataset('digits', 1442 training and 355 test examples of shape (8, 8), 10 classes)
"""

from __future__ import annotations

from cosnorm.data import _files, digits, mnist
from cosnorm.data._source import Source
from cosnorm.data.dataset import Dataset, DatasetError, DatasetStatus

__all__ = ["DATASETS", "Dataset", "DatasetError", "DatasetStatus", "load"]

DATASETS: dict[str, Source] = {source.name: source for source in (digits.SOURCE, mnist.SOURCE)}


def load(name: str, *, progress: bool = True) -> Dataset:
    """Load a dataset."""
    source = _source(name)
    contents = {} if source.embedded else _files.obtain(source, progress).contents
    try:
        return source.parse(contents)
    except ValueError as error:
        raise DatasetError(f"{source.name}: {error}") from error


def _source(name: str) -> Source:
    try:
        return DATASETS[name]
    except KeyError:
        known = ", ".join(DATASETS)
        raise DatasetError(f"there is no dataset {name!r}; there are: {known}") from None
