"""From bags of words to features: which words count, TF-IDF, and the scale of each feature.

Every step looks at the training documents alone, but for the one that ``count_on`` says of. A held-out
part of them (:meth:`cosnorm.data.Dataset.hold_out`) has been looked at too: words and weights, never classes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal, NamedTuple, TypeAlias, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from cosnorm.data.dataset import Dataset, DatasetError, drawn
from cosnorm.data.rows import SparseRows

#: A ``scipy.sparse.csr_array``: scipy is imported only where text is loaded, and has no types of its own.
CsrArray: TypeAlias = Any

BATCH = 100  # the paper's batch size, of which the documents left are to be a multiple


@dataclass(frozen=True)
class TextPreparation:
    """How bags of words become features. The defaults are our reading of the paper's section 5.2.

    The paper names none of ``tf``, ``idf`` and ``length``, says that each feature is "re-scaled", and gives a
    number of words that no cut gives (``cosnorm.data.newsgroups`` says why). With ``scale="max"`` and
    ``length="any"`` a feature is ``tf`` over its largest value: ``idf`` cancels, but for a word in every
    document, whose plain weight is 0.

    Parameters
    ----------
    min_documents : int
        A word is a feature when at least so many documents have it.
    count_on : {"train", "all"}
        Which documents those are: all training documents before any is dropped, or the test ones as well.
    tf : {"raw", "log", "relative"}
        The term frequency of a word that a document has n times: n; 1 + log n; or n over the sum of all n of
        the document's features.
    idf : {"plain", "smooth"}
        The inverse document frequency of a word in d of the N training documents that are left: log(N / d);
        or log((1 + N) / (1 + d)) + 1, as in scikit-learn.
    length : {"any", "unit"}
        "unit" divides each document's features by their Euclidean length, after TF-IDF, as scikit-learn does.
    scale : {"max", "none"}
        "max" divides each feature by its largest value over the training documents that are left, which
        are then in [0, 1].
    clip : bool
        Whether with ``scale="max"`` larger values, of test documents, become 1: the paper has all in [0, 1].
    drop : bool
        Whether training and test documents are dropped at random until each number is a multiple of 100.
    drop_seed : int
        Which ones.

    Notes
    -----
    A word that no training document has left has value 0 everywhere: nothing is known of its weight or scale.

    Raises
    ------
    TypeError
        A setting is of another type.
    ValueError
        A setting has a value that is not among these.
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
    """Documents as a sparse matrix with one row per document, and their classes."""

    matrix: CsrArray
    targets: NDArray[np.int64]


def documents(
    counts: NDArray[np.integer], places: tuple[NDArray, NDArray], shape: tuple[int, int], targets: NDArray
) -> Documents:
    """How often each document has each word; ``places`` are the document and the word of each count."""
    try:
        from scipy.sparse import csr_array
    except ModuleNotFoundError as error:
        raise DatasetError("text needs scipy, which is not installed; run: pip install scipy") from error
    return Documents(csr_array((counts.astype(np.float64), places), shape), targets.astype(np.int64))


def dataset(
    name: str,
    train: Documents,
    test: Documents,
    settings: TextPreparation,
    *,
    classes: tuple[str, ...],
    sha256: str,
) -> Dataset:
    """The dataset whose features are made of these word counts."""
    train, test = prepare(train, test, settings)
    return Dataset(
        name=name,
        train_inputs=_rows(train.matrix),
        train_targets=train.targets,
        test_inputs=_rows(test.matrix),
        test_targets=test.targets,
        classes=classes,
        maximum=1.0,
        sha256=sha256,
    )


def prepare(train: Documents, test: Documents, settings: TextPreparation) -> tuple[Documents, Documents]:
    """Turn word counts into features in float32.

    scikit-learn's ``TfidfTransformer`` has neither the plain weight nor the relative frequency, and its
    ``MaxAbsScaler`` divides where we multiply by a reciprocal, which rounds otherwise. The records were made
    with the arithmetic here.
    """
    words = _chosen_words(train.matrix, test.matrix, settings)
    if settings.drop:
        train, test = (_dropped(part, settings.drop_seed) for part in (train, test))
    counts = [part.matrix[:, words] for part in (train, test)]
    weights = _idf(counts[0], settings.idf)
    features = [_tf_idf(part, weights, settings) for part in counts]
    if settings.scale == "max":
        factors = _reciprocals(features[0].max(axis=0).toarray().ravel())
        for part in features:
            part.data = (part.data * factors[part.indices]).astype(np.float32)
            if settings.clip:
                np.minimum(part.data, 1, out=part.data)
    return Documents(features[0], train.targets), Documents(features[1], test.targets)


def _chosen_words(train: CsrArray, test: CsrArray, settings: TextPreparation) -> NDArray[np.intp]:
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


def _document_frequency(matrix: CsrArray) -> NDArray[np.intp]:
    return np.bincount(matrix.indices, minlength=matrix.shape[1])


def _dropped(part: Documents, seed: int) -> Documents:
    total = len(part.targets)
    left = drawn(total - total % BATCH, total, seed)
    return Documents(part.matrix[left], part.targets[left])


def _idf(train: CsrArray, formula: str) -> NDArray[np.float64]:
    """The weight of each word; 0 where no training document has it."""
    total, frequency = train.shape[0], _document_frequency(train)
    seen = np.maximum(frequency, 1)
    weights = np.log(total / seen) if formula == "plain" else np.log((1 + total) / (1 + seen)) + 1
    return np.where(frequency > 0, weights, 0.0)


def _tf_idf(counts: CsrArray, weights: NDArray[np.float64], settings: TextPreparation) -> CsrArray:
    """TF-IDF, and every document's length as wanted. Entries that would be zero are left out."""
    matrix, entries = counts.copy(), np.diff(counts.indptr)
    if settings.tf == "log":
        matrix.data = 1 + np.log(matrix.data)
    elif settings.tf == "relative":
        matrix.data *= np.repeat(_reciprocals(_row_sums(matrix)), entries)
    matrix.data *= weights[matrix.indices]
    if settings.length == "unit":
        matrix.data *= np.repeat(_reciprocals(np.sqrt(_row_sums(matrix**2))), entries)
    matrix.eliminate_zeros()
    return matrix.astype(np.float32)


def _row_sums(matrix: CsrArray) -> NDArray[np.float64]:
    # Not matrix.sum(axis=1), which adds in another order: the records were made with these roundings.
    return matrix @ np.ones(matrix.shape[1])


def _reciprocals(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """1 / value, and 0 for 0."""
    return np.divide(1.0, values, out=np.zeros(len(values)), where=values > 0, dtype=np.float64)


def _rows(matrix: CsrArray) -> SparseRows:
    return SparseRows(
        matrix.data, matrix.indices.astype(np.int32), matrix.indptr.astype(np.int64), matrix.shape[1]
    )
