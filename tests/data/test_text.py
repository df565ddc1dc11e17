"""The preparation of text against dense NumPy, written from its definitions, and against scikit-learn's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.preprocessing import MaxAbsScaler

from cosnorm.data import Dataset, DatasetError, SparseRows, TextPreparation, load, preparation
from cosnorm.data.dataset import drawn
from cosnorm.data.text import Documents, prepare

from .test_rows import sparse

TRAIN, TEST, WORDS = 230, 120, 60
EXACT = TextPreparation(min_documents=3, clip=False, drop=False)


def draw(count: int, seed: int) -> Documents:
    """Documents with words of very different frequencies, the first in all, the last in few test ones."""
    generator = np.random.default_rng(seed)
    counts = generator.poisson(np.geomspace(3, 0.005, WORDS), (count, WORDS)).astype(np.float32)
    counts[:, 0] += 1
    counts[:, -1] = (np.arange(count) % 20 == 7) & (count == TEST)
    return Documents(sparse(counts), np.sort(generator.integers(0, 4, count)))


train, test = draw(TRAIN, 1), draw(TEST, 2)
dense_train, dense_test = (part.rows.dense().astype(np.float64) for part in (train, test))
frequency, test_frequency = (dense_train > 0).sum(0), (dense_test > 0).sum(0)


def features(settings: TextPreparation) -> tuple[np.ndarray, np.ndarray]:
    parts = prepare(train, test, settings)
    assert all(part.rows.values.dtype == np.float32 for part in parts)
    assert all((part.rows.values != 0).all() for part in parts)
    return parts[0].rows.dense(), parts[1].rows.dense()


@pytest.mark.parametrize("tf", ["raw", "log", "relative"])
@pytest.mark.parametrize("idf", ["plain", "smooth"])
@pytest.mark.parametrize("length", ["any", "unit"])
@pytest.mark.parametrize("scale", ["max", "none"])
def test_the_definitions(tf: str, idf: str, length: str, scale: str) -> None:
    words = frequency >= 3
    d = frequency[words]
    weight = np.log(TRAIN / d) if idf == "plain" else np.log((1 + TRAIN) / (1 + d)) + 1
    expected = []
    for counts in (dense_train[:, words], dense_test[:, words]):
        with np.errstate(divide="ignore"):
            values = {
                "raw": counts,
                "log": np.where(counts > 0, 1 + np.log(counts), 0),
                "relative": counts / counts.sum(1, keepdims=True),
            }[tf] * weight
        expected.append(
            values / np.linalg.norm(values, axis=1, keepdims=True) if length == "unit" else values
        )
    if scale == "max":
        largest = expected[0].max(0)
        expected = [np.divide(part, largest, out=np.zeros_like(part), where=largest > 0) for part in expected]
    settings = replace(EXACT, tf=tf, idf=idf, length=length, scale=scale)  # pyright: ignore[reportArgumentType]
    for ours, theirs in zip(features(settings), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=0)


@pytest.mark.parametrize("sublinear", [False, True])
def test_scikit_learn_agrees(sublinear: bool) -> None:
    words = frequency >= 3
    theirs = TfidfTransformer(sublinear_tf=sublinear).fit(dense_train[:, words])
    scaler = MaxAbsScaler().fit(theirs.transform(dense_train[:, words]))
    ours = features(replace(EXACT, tf="log" if sublinear else "raw", idf="smooth", length="unit"))
    for part, counts in zip(ours, (dense_train, dense_test), strict=True):
        expected = csr_matrix(scaler.transform(theirs.transform(counts[:, words]))).toarray()
        np.testing.assert_allclose(part, expected, rtol=1e-6)


def test_idf_cancels_in_the_scale() -> None:
    """Which formula the paper used makes no difference, but for a word that every document has."""
    plain, smooth = features(EXACT), features(replace(EXACT, idf="smooth"))
    for a, b in zip(plain, smooth, strict=True):
        np.testing.assert_allclose(a[:, 1:], b[:, 1:], rtol=1e-6)
    assert not plain[0][:, 0].any()
    assert smooth[0][:, 0].all()


def test_training_features_fill_the_unit_interval() -> None:
    inputs, others = features(replace(EXACT, idf="smooth", clip=True))
    assert inputs.min() == 0
    np.testing.assert_allclose(inputs.max(0), 1, rtol=1e-6)
    unclipped = features(replace(EXACT, idf="smooth", clip=False))
    np.testing.assert_array_equal(inputs, unclipped[0])
    assert unclipped[1].max() > 1
    np.testing.assert_array_equal(others, np.minimum(unclipped[1], 1))
    counts, same = (features(replace(EXACT, scale="none", clip=clip)) for clip in (True, False))
    np.testing.assert_array_equal(counts[1], same[1], err_msg="without a scale there is nothing to clip")


def test_which_words() -> None:
    for least in (1, 2, 3, 7):
        for count_on, counted in (("train", frequency), ("all", frequency + test_frequency)):
            settings = replace(EXACT, min_documents=least, count_on=count_on, idf="smooth", scale="none")  # pyright: ignore
            inputs, _ = features(settings)
            assert inputs.shape[1] == (counted >= least).sum()
    assert (frequency + test_frequency >= 3).sum() > (frequency >= 3).sum()


def test_unseen_words_are_zero() -> None:
    """A word that only test documents have has neither a weight nor a scale."""
    words = frequency + test_frequency >= 1
    unseen = np.flatnonzero(frequency[words] == 0)
    assert len(unseen) > 0
    assert dense_test[:, words][:, unseen].any()
    for idf in ("plain", "smooth"):
        for scale in ("max", "none"):
            settings = TextPreparation(min_documents=1, count_on="all", idf=idf, scale=scale, drop=False)  # pyright: ignore
            assert not features(settings)[1][:, unseen].any()


def test_the_test_documents_have_no_say() -> None:
    for settings in (EXACT, replace(EXACT, idf="smooth", length="unit", drop=True)):
        alone, _ = prepare(train, test, settings)
        other, _ = prepare(train, draw(100, 9), settings)
        np.testing.assert_array_equal(alone.rows.dense(), other.rows.dense())


def test_dropped_documents() -> None:
    """The rest is a multiple of 100, in order, of the same words, and weighed by what is left."""
    whole = prepare(train, test, replace(EXACT, scale="none", idf="smooth"))
    parts = prepare(train, test, replace(EXACT, drop=True, scale="none", idf="smooth"))
    assert [len(part.rows) for part in parts] == [200, 100] == [len(part.targets) for part in parts]
    assert parts[0].rows.width == whole[0].rows.width
    left = drawn(200, TRAIN, 0)
    np.testing.assert_array_equal(parts[0].targets, train.targets[left])
    counts = dense_train[left][:, frequency >= 3]
    weight = np.log(201 / (1 + (counts > 0).sum(0))) + 1
    np.testing.assert_allclose(parts[0].rows.dense(), counts * weight, rtol=1e-6)
    others = prepare(train, test, replace(EXACT, drop=True, drop_seed=1))
    assert not np.array_equal(others[0].rows.offsets, parts[0].rows.offsets)


def test_drawn_is_a_part_without_repetition_and_never_changes() -> None:
    assert drawn(4, 10, 0).tolist() == [1, 2, 3, 8]
    for seed in range(5):
        part = drawn(7, 30, seed)
        assert len(set(part.tolist())) == 7
        assert part.min() >= 0
        assert part.max() < 30
        assert part.tolist() == sorted(part.tolist())
    means = [drawn(50, 1000, seed).mean() for seed in range(200)]
    assert np.mean(means) == pytest.approx(499.5, abs=4 * 41 / np.sqrt(200))


def test_no_word_is_left() -> None:
    with pytest.raises(DatasetError, match=r"no word is in 9999 documents, the most are 230; lower"):
        prepare(train, test, replace(EXACT, min_documents=9999))


REFUSED = [
    ({"tf": "binary"}, "tf must be one of 'raw', 'log', 'relative', got 'binary'"),
    ({"idf": None}, "idf must be one of 'plain', 'smooth', got None"),
    ({"length": "l2"}, "length must be one of 'any', 'unit'"),
    ({"scale": "min"}, "scale must be one of 'max', 'none'"),
    ({"count_on": "test"}, "count_on must be one of 'train', 'all'"),
    ({"min_documents": 0}, "min_documents must be at least 1, got 0"),
    ({"min_documents": 2.0}, "min_documents must be int, got 2.0"),
    ({"min_documents": True}, "min_documents must be int, got True"),
    ({"drop": 1}, "drop must be bool, got 1"),
    ({"drop_seed": -1}, "drop_seed must be at least 0, got -1"),
    (
        {"stem": True, "tf": "log"},
        "docstrings has no setting stem of its preparation; there are: min_documents,",
    ),
]


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_settings_that_are_refused(given: dict, message: str) -> None:
    for function in (load, preparation):
        with pytest.raises(DatasetError, match=message):
            function("docstrings", **given)


def test_full_settings() -> None:
    assert preparation("newsgroups", min_documents=6, scale="none") == {
        "min_documents": 6,
        "count_on": "train",
        "tf": "raw",
        "idf": "plain",
        "length": "any",
        "scale": "none",
        "clip": True,
        "drop": True,
        "drop_seed": 0,
    }
    assert preparation("digits") == {}
    with pytest.raises(DatasetError, match="digits has no setting tf of its preparation; it has none"):
        preparation("digits", tf="raw")
    with pytest.raises(DatasetError, match="there is no dataset 'letters'"):
        preparation("letters")


def make(targets: list[int], rows: SparseRows | np.ndarray) -> Dataset:
    labels = np.array(targets)
    return Dataset("made", rows, labels, rows, labels, ("a", "b"), 1.0, "0" * 64)


def test_holding_out_of_sorted_examples() -> None:
    """Both parts have both classes, together they are everything once, inputs stay with their targets."""
    rows = sparse(np.arange(1, 101, dtype=np.float32)[:, None])
    held = make([0] * 50 + [1] * 50, rows).hold_out(30)
    assert (len(held.train_targets), len(held.test_targets)) == (70, 30)
    both = np.concatenate([held.train_inputs.dense(), held.test_inputs.dense()])[:, 0]  # pyright: ignore
    np.testing.assert_array_equal(np.sort(both), np.arange(1, 101))
    labels = np.concatenate([held.train_targets, held.test_targets])
    np.testing.assert_array_equal(labels, both > 50)
    assert 8 <= held.test_targets.sum() <= 22
    assert repr(held) == "Dataset('made', 70 training and 30 test examples of shape (1,), 2 classes)"
    assert held.features == 1


def test_holding_out_of_unsorted_examples() -> None:
    inputs = np.arange(6, dtype=np.uint8)[:, None]
    held = make([0, 1, 0, 1, 0, 1], inputs).hold_out(2)
    assert held.train_inputs.tolist() == [[0], [1], [2], [3]]  # pyright: ignore[reportAttributeAccessIssue]
    assert held.test_inputs.tolist() == [[4], [5]]  # pyright: ignore[reportAttributeAccessIssue]
