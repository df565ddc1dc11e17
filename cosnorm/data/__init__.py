"""The datasets of the book: found, verified, downloaded where they are missing, and parsed.

Files are looked for in the folder that ``$COSNORM_DATA`` names, then in the cache (``$COSNORM_CACHE``,
or the platform's own place for caches), and are fetched into the cache when they are in neither. Every
byte is verified at every load. Nothing that is downloaded is ever unpickled or run.

>>> from cosnorm.data import load
>>> load("digits")
Dataset('digits', 1442 training and 355 test examples of shape (8, 8), 10 classes)
"""

from __future__ import annotations

from pathlib import Path

from cosnorm.data import _obtain, _status, digits, mnist
from cosnorm.data._source import Source
from cosnorm.data.dataset import Dataset, DatasetError, DatasetStatus

__all__ = ["DATASETS", "Dataset", "DatasetError", "DatasetStatus", "fetch", "load", "status"]

DATASETS: dict[str, Source] = {source.name: source for source in (digits.SOURCE, mnist.SOURCE)}
"""Every dataset by its name, in the order in which they are listed."""


def load(name: str, *, progress: bool = True) -> Dataset:
    """Load a dataset, and download it first where it is missing.

    Parameters
    ----------
    name : str
        A key of :data:`DATASETS`: "digits" needs no files, "mnist" four (11.6 MB compressed).
    progress : bool
        Whether a download shows a bar and notes on standard error.

    Returns
    -------
    Dataset
        New arrays at every call: changing them changes nothing else.

    Raises
    ------
    DatasetError
        There is no dataset of that name, or its files cannot be had, or one in ``$COSNORM_DATA`` is
        damaged. The message says how to mend it. Damaged files of the cache are renamed to
        ``<name>.damaged-<n>`` and fetched again; those of ``$COSNORM_DATA`` are never touched.
    """
    source = _source(name)
    contents = {} if source.embedded else _obtain.obtain(source, progress).contents
    try:
        return source.parse(contents)
    except ValueError as error:
        message = f"{source.name} has its official sha256 and still cannot be read: {error}"
        raise DatasetError(message) from error


def fetch(name: str, *, progress: bool = True) -> Path:
    """Make sure that a dataset's files are there and sound, downloading those that are not.

    Returns
    -------
    Path
        The folder that holds them; the first file's, where they lie in several.

    Raises
    ------
    DatasetError
        As for :func:`load`; and for an embedded dataset, which has no files.
    """
    source = _source(name)
    if source.embedded:
        raise DatasetError(f"{source.name} is embedded: there is nothing to fetch, cosnorm.data.load has it")
    return next(iter(_obtain.obtain(source, progress).paths.values())).parent


def status(name: str) -> DatasetStatus:
    """Where a dataset's files are and whether every byte of them is right. Downloads and changes nothing.

    Raises
    ------
    DatasetError
        There is no dataset of that name.
    """
    return _status.status(_source(name))


def _source(name: str) -> Source:
    source = DATASETS.get(name)
    if source is None:
        raise DatasetError(f"there is no dataset {name!r}; there are: {', '.join(DATASETS)}")
    return source
