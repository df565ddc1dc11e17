"""20 Newsgroups: its format on small files, its archive on a local server, the real files where at hand."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosnorm.data import (
    DATASETS,
    Dataset,
    DatasetError,
    SparseRows,
    TextPreparation,
    load,
    status,
)
from cosnorm.data._files import Source
from cosnorm.data.newsgroups import PACKED, SOURCE, VOCABULARY

from .conftest import describe
from .mirrors import serve
from .test_archive import pack

COUNTS = {"min_documents": 1, "scale": "none", "idf": "smooth", "drop": False}
SMALL = {
    "vocabulary.txt": b"archive\nname\natheism\n",
    "train.map": b"alt.atheism 1\ncomp.graphics 2\n",
    "test.map": b"alt.atheism 1\ncomp.graphics 2\n",
    "train.label": b"1\n1\n2\n",
    "train.data": b"1 1 4\n1 3 2\n3 1 1\n3 2 7\n",
    "test.label": b"2\n1\n",
    "test.data": b"1 3 1\n2 2 5\n",
}


def test_small_files() -> None:
    made = SOURCE.parse(SMALL, TextPreparation(**COUNTS))
    assert made.classes == ("alt.atheism", "comp.graphics")
    assert made.train_targets.tolist() == [0, 0, 1]
    assert made.test_targets.tolist() == [1, 0]
    assert isinstance(made.train_inputs, SparseRows)
    assert isinstance(made.test_inputs, SparseRows)
    idf = np.log(4 / np.array([3, 2, 2])) + 1
    expected = np.array([[4, 0, 2], [0, 0, 0], [1, 7, 0]]) * idf
    np.testing.assert_allclose(made.train_inputs.dense(), expected, rtol=1e-6)
    np.testing.assert_allclose(made.test_inputs.dense(), np.array([[0, 0, 1], [0, 5, 0]]) * idf, rtol=1e-6)
    assert (made.features, made.maximum, made.train_inputs.shape) == (3, 1.0, (3, 3))


@pytest.fixture
def small(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    """The registered source with small files, on a mirror that has them as the official page does."""
    packed = {f"20news-bydate/matlab/{file.name}": SMALL[file.name] for file in PACKED}
    served = {"20news-bydate-matlab.tgz": pack(packed), VOCABULARY.name: SMALL[VOCABULARY.name]}
    with serve(served) as mirrors:
        files = tuple(describe(name, content) for name, content in SMALL.items())
        source = replace(SOURCE, files=files, mirrors=(mirrors.base("good"),))
        monkeypatch.setitem(DATASETS, "newsgroups", source)
        yield source


def test_downloaded_from_the_archive(small: Source, folders: tuple[Path, Path]) -> None:
    assert status("newsgroups").state == "missing"
    loaded = load("newsgroups", progress=False, min_documents=1, drop=False)
    assert repr(loaded) == "Dataset('newsgroups', 3 training and 2 test examples of shape (3,), 2 classes)"
    assert sorted(path.name for path in (folders[1] / "newsgroups").iterdir()) == [".lock", *sorted(SMALL)]
    assert status("newsgroups").state == "ready"


@pytest.mark.parametrize("folder", SOURCE.folders)
def test_found_where_people_unpack_it(small: Source, folder: str, folders: tuple[Path, Path]) -> None:
    """With the vocabulary in another of these folders."""
    for name, content in SMALL.items():
        place = folders[0] / (SOURCE.folders[0] if name == VOCABULARY.name else folder)
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    assert load("newsgroups", min_documents=1, drop=False).features == 3
    assert not folders[1].exists()


def test_no_word_in_enough_documents_is_no_damage(small: Source) -> None:
    with pytest.raises(DatasetError, match=r"^no word is in 5 documents, the most are 2"):
        load("newsgroups", progress=False)


def test_how_to_get_it_by_hand(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "newsgroups", replace(SOURCE, mirrors=()))
    with pytest.raises(DatasetError, match=r"newsgroups: cannot get train\.data") as caught:
        load("newsgroups", progress=False)
    message = str(caught.value)
    assert "20news-bydate-matlab.tgz (in its folder 20news-bydate/matlab) holds train.data," in message


@pytest.fixture(scope="module")
def real() -> Dataset:
    found = status("newsgroups")
    if found.state != "ready":
        pytest.skip(
            f"20 Newsgroups is not on this machine ({found.state}); set COSNORM_DATA to have it tested"
        )
    return load("newsgroups", progress=False)


def sparse_of(loaded: Dataset) -> tuple[SparseRows, SparseRows]:
    assert isinstance(loaded.train_inputs, SparseRows)
    assert isinstance(loaded.test_inputs, SparseRows)
    return loaded.train_inputs, loaded.test_inputs


def test_real_sizes(real: Dataset) -> None:
    """The paper's 11 200 and 7 500 documents; its features but one."""
    assert (len(real.train_targets), len(real.test_targets)) == (11_200, 7_500)
    assert (real.features, real.num_classes) == (21_566, 20)
    assert (real.classes[0], real.classes[-1]) == ("alt.atheism", "talk.religion.misc")
    assert real.train_targets.dtype == real.test_targets.dtype == np.int64


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"min_documents": 6}, 18_989),
        ({"min_documents": 8, "count_on": "all"}, 21_307),
        ({"min_documents": 7, "count_on": "all"}, 23_187),
        ({"min_documents": 1, "drop": False}, 53_975),
    ],
)
def test_real_words(real: Dataset, given: dict, words: int) -> None:
    assert load("newsgroups", **given).features == words


def test_real_class_counts(real: Dataset) -> None:
    """Of all documents, as the data's page counts them: 480 and 318 of alt.atheism, and so on."""
    whole = load("newsgroups", drop=False)
    train, test = np.bincount(whole.train_targets), np.bincount(whole.test_targets)
    assert (train.sum(), test.sum()) == (11_269, 7_505)
    assert train[[0, 1, 19]].tolist() == [480, 581, 376]
    assert test[[0, 1, 19]].tolist() == [318, 389, 251]
    dropped = train - np.bincount(real.train_targets)
    assert dropped.min() >= 0
    assert np.count_nonzero(dropped) > 10, "drawn from all over, not from one end"


def test_real_scale(real: Dataset) -> None:
    train, test = sparse_of(real)
    largest = np.zeros(train.width)
    np.maximum.at(largest, train.columns, train.values)
    np.testing.assert_allclose(largest, 1, rtol=1e-6)
    assert train.values.min() > 0
    assert test.values.max() == 1
    unclipped = load("newsgroups", clip=False, progress=False).test_inputs
    assert isinstance(unclipped, SparseRows)
    assert (unclipped.values > 1).mean() == pytest.approx(0.0084, abs=1e-4)
    assert unclipped.values.max() == pytest.approx(63)


def test_real_documents_belong_to_their_classes(real: Dataset) -> None:
    """The class with the nearest mean direction is right for seven test documents of ten."""
    from scipy.sparse import csr_matrix

    train, test = (
        csr_matrix((rows.values, rows.columns, rows.offsets), rows.shape) for rows in sparse_of(real)
    )
    lengths = np.sqrt(np.asarray(train.multiply(train).sum(1)))
    directions = train.multiply(1 / lengths).tocsr()
    means = np.stack([np.asarray(directions[real.train_targets == label].mean(0))[0] for label in range(20)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    right = ((test @ means.T).argmax(1) == real.test_targets).mean()
    assert right > 0.6


def test_real_sha256(real: Dataset) -> None:
    """What ``sha256sum * | sha256sum`` prints in a folder with the seven files."""
    names = sorted(file.name for file in SOURCE.files)
    hashes = {file.name: file.sha256 for file in SOURCE.files}
    lines = "".join(f"{hashes[name]}  {name}\n" for name in names)
    assert real.sha256 == hashlib.sha256(lines.encode()).hexdigest()
    assert load("newsgroups", tf="log").sha256 == real.sha256


def test_real_loading_is_quick_and_small(real: Dataset) -> None:
    train, test = sparse_of(real)
    assert train.nbytes + test.nbytes < 20_000_000
    begun = time.process_time()
    load("newsgroups")
    assert time.process_time() - begun < 3
