"""The datasets of the book: found, verified, downloaded where they are missing, and parsed.

Files are looked for in the folder that ``$COSNORM_DATA`` names, then in the cache (``$COSNORM_CACHE``,
or the platform's own place for caches), and are fetched into the cache when they are in neither. Every
byte is verified at every load. Nothing that is downloaded is ever unpickled or run.

>>> from cosnorm.data import load
>>> load("digits")
Dataset('digits', 1442 training and 355 test examples of shape (8, 8), 10 classes)
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from cosnorm.data import _obtain, _status, cifar10, cifar100, digits, docstrings, mnist, newsgroups, svhn
from cosnorm.data._source import Source
from cosnorm.data._text import TextPreparation
from cosnorm.data.dataset import Dataset, DatasetError, DatasetStatus
from cosnorm.data.rows import SparseRows

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetError",
    "DatasetStatus",
    "SparseRows",
    "TextPreparation",
    "fetch",
    "load",
    "preparation",
    "status",
]

#: Where each dataset comes from, by name.
DATASETS: dict[str, Source] = {
    source.name: source
    for source in (
        digits.SOURCE,
        docstrings.SOURCE,
        mnist.SOURCE,
        newsgroups.SOURCE,
        cifar10.SOURCE,
        cifar100.SOURCE,
        svhn.SOURCE,
    )
}
"""Every dataset by its name, in the order in which they are listed."""


def load(name: str, *, progress: bool = True, **preparation: Any) -> Dataset:
    """Load a dataset, and download it first where it is missing.

    Parameters
    ----------
    name : str
        A key of :data:`DATASETS`: "digits" needs no files, "mnist" four (11.6 MB compressed).
    progress : bool
        Whether a download shows a bar and notes on standard error.
    **preparation
        Settings of how the data is prepared: the fields of :class:`TextPreparation` for "newsgroups" and
        "docstrings". The others have none.

    Returns
    -------
    Dataset
        New arrays at every call: changing them changes nothing else.

    Raises
    ------
    DatasetError
        There is no dataset of that name, or no such setting, or its files cannot be had, or one in
        ``$COSNORM_DATA`` is damaged. The message says how to mend it. Damaged files of the cache are
        renamed to ``<name>.damaged-<n>`` and fetched again; those of ``$COSNORM_DATA`` are never touched.
    """
    source = _source(name)
    settings = source.settings(preparation)
    contents = {} if source.embedded else _obtain.obtain(source, progress).contents
    try:
        return source.parse(contents, *settings)
    except ValueError as error:
        message = f"{source.name} has its official sha256 and still cannot be read: {error}"
        raise DatasetError(message) from error


def preparation(name: str, **given: Any) -> dict[str, Any]:
    """Every setting of a dataset's preparation by name: those given, and the defaults of the others.

    With ``Dataset.sha256``, which covers what the data was read from, it says exactly what ``load`` gives.
    Empty for a dataset that has no settings. All values are numbers, strings and booleans.

    Raises
    ------
    DatasetError
        There is no dataset of that name, or no such setting, or it does not take such a value.

    Examples
    --------
    >>> from cosnorm import data
    >>> data.preparation("newsgroups", tf="log")["tf"], data.preparation("mnist")
    ('log', {})
    """
    return {key: value for full in _source(name).settings(given) for key, value in asdict(full).items()}


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
