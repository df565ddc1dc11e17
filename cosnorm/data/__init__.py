"""The datasets of the book: found, verified, downloaded where they are missing, and parsed.

Files are looked for in the folder that ``$COSNORM_DATA`` names, then in the cache (``$COSNORM_CACHE``,
or the platform's folder for caches), and otherwise downloaded into the cache. Every byte is verified at
every load. Nothing that is downloaded is ever unpickled or run.

>>> from cosnorm.data import load
>>> load("digits")
Dataset('digits', 1442 training and 355 test examples of shape (8, 8), 10 classes)
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from cosnorm.data import digits, docstrings, images, newsgroups
from cosnorm.data._download import obtain
from cosnorm.data._files import Inspection, Source, inspect
from cosnorm.data.dataset import Dataset, DatasetError, DatasetStatus
from cosnorm.data.rows import SparseRows
from cosnorm.data.text import TextPreparation

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
        images.MNIST,
        newsgroups.SOURCE,
        images.CIFAR10,
        images.CIFAR100,
        images.SVHN,
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
        For "newsgroups" and "docstrings", fields of :class:`TextPreparation`. The others have no settings.

    Returns
    -------
    Dataset
        With new arrays at every call.

    Raises
    ------
    DatasetError
        The message says what to do. Damaged files of the cache are renamed to ``<name>.damaged-<n>`` and
        downloaded again; those of ``$COSNORM_DATA`` are never touched.
    """
    source = _source(name)
    settings = source.settings(preparation)
    contents = {} if source.embedded else obtain(source, progress).contents
    try:
        return source.parse(contents, *settings)
    except ValueError as error:
        message = f"{source.name} has its official sha256 and still cannot be read: {error}"
        raise DatasetError(message) from error


def preparation(name: str, **given: Any) -> dict[str, Any]:
    """Every setting of a dataset's preparation by name: those given, and the defaults of the others.

    With ``Dataset.sha256``, which covers the source of the data, they determine what ``load`` returns. All
    values are numbers, strings and booleans.

    Examples
    --------
    >>> from cosnorm import data
    >>> data.preparation("newsgroups", tf="log")["tf"], data.preparation("mnist")
    ('log', {})
    """
    return {key: value for full in _source(name).settings(given) for key, value in asdict(full).items()}


def fetch(name: str, *, progress: bool = True) -> Path:
    """Verify a dataset's files, download those that are missing, and return the folder of the first one."""
    source = _source(name)
    if source.embedded:
        raise DatasetError(f"{source.name} is embedded: there is nothing to fetch, cosnorm.data.load has it")
    return next(iter(obtain(source, progress).paths.values())).parent


def status(name: str) -> DatasetStatus:
    """Look for a dataset's files and verify them. Downloads and changes nothing."""
    source = _source(name)
    try:
        if source.embedded:
            source.parse({}, *source.settings({}))
            return DatasetStatus(source.name, None, "embedded", f"{source.title}: no files needed")
        return _status_of_files(source, inspect(source))
    except DatasetError as error:
        return DatasetStatus(source.name, None, "missing", str(error))


def _status_of_files(source: Source, found: Inspection) -> DatasetStatus:
    lost = [damage for damage in found.damaged if damage.file in found.missing]
    if lost:
        lines = [str(damage) for damage in lost]
        return DatasetStatus(source.name, lost[0].path.parent, "damaged", "\n".join(lines))
    folders = list(dict.fromkeys(path.parent for path in found.paths.values()))
    if found.missing:
        names = ", ".join(file.name for file in found.missing)
        size = sum(file.size for file in found.missing) / 1e6
        detail = f"missing: {names} ({size:.1f} MB); python -m cosnorm data {source.name} downloads them"
        return DatasetStatus(source.name, folders[0] if folders else None, "missing", detail)
    lines = [f"{source.title}: {len(source.files)} files, each with its official sha256"]
    lines += [f"files in {folder}" for folder in folders] if len(folders) > 1 else []
    lines += [f"not used: {damage}" for damage in found.damaged]
    return DatasetStatus(source.name, folders[0], "ready", "\n".join(lines))


def _source(name: str) -> Source:
    source = DATASETS.get(name)
    if source is None:
        raise DatasetError(f"there is no dataset {name!r}; there are: {', '.join(DATASETS)}")
    return source
