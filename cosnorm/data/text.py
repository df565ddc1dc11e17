"""From bags of words to features: the choice of words, TF-IDF, and the scale of each feature.

Every step uses the training documents only, except for ``count_on``. The words and weights, though not the
classes, of documents that are held out (:meth:`cosnorm.data.Dataset.hold_out`) have been used too.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Literal, NamedTuple, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from cosnorm.data.dataset import Dataset, DatasetError, drawn
from cosnorm.data.rows import SparseRows

BATCH = 100  # the paper's batch size


@dataclass(frozen=True)
class TextPreparation:
    """How bags of words become features. The defaults are our reading of the paper's section 5.2.

    The paper does not specify ``tf``, ``idf`` and ``length``, says that each feature is "re-scaled", and
    reports a number of words that no cut-off gives (see ``cosnorm.data.newsgroups``). With ``scale="max"``
    and ``length="any"`` a feature is ``tf`` over its largest value: ``idf`` cancels, except for a word in
    every document, whose plain weight is 0. A word that no remaining training document has is 0 everywhere.

    Parameters
    ----------
    min_documents : int
        A word is a feature if at least this many documents contain it.
    count_on : {"train", "all"}
        Count in the training documents, before any is dropped, or in the test documents as well.
    tf : {"raw", "log", "relative"}
        The term frequency of a word that a document contains n times: n; 1 + log n; or n over the sum of
        all n of the document's features.
    idf : {"plain", "smooth"}
        The inverse document frequency of a word in d of the N remaining training documents: log(N / d);
        or log((1 + N) / (1 + d)) + 1, as in scikit-learn.
    length : {"any", "unit"}
        "unit" divides each document's features by their Euclidean norm, after TF-IDF, as scikit-learn does.
    scale : {"max", "none"}
        "max" divides each feature by its largest value over the remaining training documents.
    clip : bool
        Whether with ``scale="max"`` larger values of test documents become 1: the paper has all in [0, 1].
    drop : bool
        Whether training and test documents are dropped at random until each number is a multiple of 100.
    drop_seed : int
        Seed of this choice.
    """

    min_documents: int = 5
    count_on: Literal["train", "all"] = "train"
    tf: Literal["raw", "log", "relative"] = "raw"
    idf: Literal["plain", "smooth"] = "plain"
    length: Literal["any", "unit"] = "any"
    scale: Literal["max", "none"] = "max"
    clip: bool = True
    drop: bool = True
    drop_seed: int = 0

    def __post_init__(self) -> None:
        hints = _hints()
        for field in fields(self):
            _check(field.name, getattr(self, field.name), hints[field.name])
        for name, least in (("min_documents", 1), ("drop_seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


@cache
def _hints() -> dict[str, type]:
    return get_type_hints(TextPreparation)


def _check(name: str, value: object, hint: type) -> None:
    choices = get_args(hint)
    if choices and value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    if not choices and type(value) is not hint:
        raise TypeError(f"{name} must be {hint.__name__}, got {value!r}")


class Documents(NamedTuple):
    """Word counts or features, one row per document, and the classes of the documents."""

    rows: SparseRows
    targets: NDArray[np.int64]


def dataset(
    name: str,
    train: Documents,
    test: Documents,
    settings: TextPreparation,
    *,
    classes: tuple[str, ...],
    sha256: str,
) -> Dataset:
    """Make a dataset from word counts."""
    train, test = prepare(train, test, settings)
    return Dataset(
        name=name,
        train_inputs=train.rows,
        train_targets=train.targets,
        test_inputs=test.rows,
        test_targets=test.targets,
        classes=classes,
        maximum=1.0,
        sha256=sha256,
    )


def prepare(train: Documents, test: Documents, settings: TextPreparation) -> tuple[Documents, Documents]:
    """Turn word counts into features in float32.

    Not with scikit-learn, so that torch and NumPy suffice, and because its ``TfidfTransformer`` has neither
    the plain weight nor the relative frequency, and its ``MaxAbsScaler`` rounds differently.
    """
    words = _chosen_words(train.rows, test.rows, settings)
    if settings.drop:
        train, test = (_dropped(part, settings.drop_seed) for part in (train, test))
    train, test = (Documents(_with_columns(rows, words), targets) for rows, targets in (train, test))
    weights = _idf(train.rows, settings.idf)
    parts = [_weighted(rows, weights, settings) for rows in (train.rows, test.rows)]
    if settings.scale == "max":
        factors = _reciprocals(_largest(parts[0]))
        parts = [_scaled(rows, factors) for rows in parts]
        if settings.clip:
            parts = [replace(rows, values=np.minimum(rows.values, np.float32(1))) for rows in parts]
    return Documents(parts[0], train.targets), Documents(parts[1], test.targets)


def _chosen_words(train: SparseRows, test: SparseRows, settings: TextPreparation) -> NDArray[np.int64]:
    frequency = _document_frequency(train)
    if settings.count_on == "all":
        frequency = frequency + _document_frequency(test)
    words = np.flatnonzero(frequency >= settings.min_documents)
    if not len(words):
        raise DatasetError(
            f"no word is in {settings.min_documents} documents, the most are {frequency.max(initial=0)}; "
            "lower min_documents"
        )
    return words


def _document_frequency(counts: SparseRows) -> NDArray[np.int64]:
    return np.bincount(counts.columns, minlength=counts.width)


def _dropped(part: Documents, seed: int) -> Documents:
    total = len(part.targets)
    left = drawn(total - total % BATCH, total, seed)
    return Documents(part.rows[left], part.targets[left])


def _with_columns(rows: SparseRows, chosen: NDArray[np.int64]) -> SparseRows:
    # Renumbers the columns in ascending order.
    number = np.full(rows.width, -1, np.int32)
    number[chosen] = np.arange(len(chosen))
    columns = number[rows.columns]
    return _without(rows, columns >= 0, columns, len(chosen))


def _without(rows: SparseRows, keep: NDArray[np.bool_], columns: NDArray[np.int32], width: int) -> SparseRows:
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep, dtype=np.int64)])
    return SparseRows(rows.values[keep], columns[keep], before[rows.offsets], width)


def _idf(train: SparseRows, formula: str) -> NDArray[np.float64]:
    total, frequency = len(train), _document_frequency(train)
    seen = np.maximum(frequency, 1)
    weights = np.log(total / seen) if formula == "plain" else np.log((1 + total) / (1 + seen)) + 1
    return np.where(frequency > 0, weights, 0.0)


def _weighted(counts: SparseRows, weights: NDArray[np.float64], settings: TextPreparation) -> SparseRows:
    # Entries that would be zero are left out.
    keep = weights[counts.columns] > 0
    values = _term_frequency(counts, settings.tf) * weights[counts.columns]
    if settings.length == "unit":
        values = values * np.repeat(
            _reciprocals(np.sqrt(_row_sums(counts, values**2))), np.diff(counts.offsets)
        )
    return _without(replace(counts, values=values.astype(np.float32)), keep, counts.columns, counts.width)


def _term_frequency(counts: SparseRows, formula: str) -> NDArray[np.float64]:
    values = counts.values.astype(np.float64)
    if formula == "log":
        return 1 + np.log(values)
    if formula == "relative":
        return values * np.repeat(_reciprocals(_row_sums(counts, values)), np.diff(counts.offsets))
    return values


def _row_sums(rows: SparseRows, values: NDArray[np.float64]) -> NDArray[np.float64]:
    row = np.repeat(np.arange(len(rows)), np.diff(rows.offsets))
    return np.asarray(np.bincount(row, values, minlength=len(rows)), np.float64)


def _largest(rows: SparseRows) -> NDArray[np.float32]:
    largest = np.zeros(rows.width, np.float32)
    np.maximum.at(largest, rows.columns, rows.values)
    return largest


def _reciprocals(values: NDArray[np.floating]) -> NDArray[np.float64]:
    # 0 for 0.
    return np.divide(1.0, values, out=np.zeros(len(values)), where=values > 0, dtype=np.float64)


def _scaled(rows: SparseRows, factors: NDArray[np.float64]) -> SparseRows:
    return replace(rows, values=(rows.values * factors[rows.columns]).astype(np.float32))
