"""The embedded docstrings: what is in them, that they are hard enough, and how they are made."""

from __future__ import annotations

import ast
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.svm import LinearSVC

from cosnorm.data import Dataset, DatasetError, SparseRows, docstrings, load, status
from cosnorm.data.docstrings import CLASSES, FILE, SHA256, TYPES, fingerprint, read
from tools import docstring_corpus as maker
from tools.docstring_corpus import Docstring


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return read(FILE)


@pytest.fixture(scope="module")
def loaded() -> Dataset:
    return load("docstrings")


def lines(array: np.ndarray) -> list[str]:
    return array.tobytes().decode().split("\n")


def test_sizes(loaded: Dataset) -> None:
    assert repr(loaded) == (
        "Dataset('docstrings', 1600 training and 400 test examples of shape (2987,), 10 classes)"
    )
    assert loaded.classes == CLASSES
    assert np.bincount(loaded.train_targets).min() >= 90
    assert np.bincount(loaded.test_targets).min() >= 20
    assert isinstance(loaded.train_inputs, SparseRows)
    assert loaded.train_inputs.values.max() == pytest.approx(1)
    assert status("docstrings").state == "embedded"
    assert FILE.stat().st_size < 400_000


def test_every_fifth_of_a_class_is_for_testing() -> None:
    whole = load("docstrings", drop=False)
    train, test = np.bincount(whole.train_targets), np.bincount(whole.test_targets)
    np.testing.assert_array_equal(test, (train + test) // 5)


def test_what_is_stored(arrays: dict[str, np.ndarray]) -> None:
    words, names = lines(arrays["vocabulary"]), lines(arrays["names"])
    assert words == sorted(set(words))
    assert all(word.isascii() and word.isalpha() and word.islower() and len(word) > 2 for word in words)
    assert len(names) == len(arrays["targets"]) == len(arrays["lengths"])
    assert all(word not in words for name in CLASSES for word in name.split("."))
    for name, target in zip(names, arrays["targets"], strict=True):
        assert name.startswith(CLASSES[target].replace(".", "/") + "/")
    assert arrays["counts"].min() == 1


def test_neither_trivial_nor_hopeless(loaded: Dataset) -> None:
    """A linear classifier errs on 19 % of the test docstrings; guessing the largest class, on 89 %."""

    def matrix(rows: object) -> csr_matrix:
        assert isinstance(rows, SparseRows)
        return csr_matrix((rows.values, rows.columns, rows.offsets), rows.shape)

    classifier = LinearSVC(C=0.1, random_state=0).fit(matrix(loaded.train_inputs), loaded.train_targets)
    error = 1 - classifier.score(matrix(loaded.test_inputs), loaded.test_targets)
    assert 0.1 < error < 0.25


def damaged(case: str, arrays: dict[str, np.ndarray]) -> bytes:
    content = FILE.read_bytes()
    if case == "truncated":
        return content[:-30]
    if case == "text":
        return b"version https://git-lfs.github.com/spec/v1\n"
    changed = {name: array.copy() for name, array in arrays.items()}
    if case == "other":
        changed["counts"][0] += 1
    if case == "absent":
        del changed["names"]
    return maker.packed(changed)


CASES = {
    "truncated": "cannot be read",
    "text": "cannot be read",
    "other": "is not the one that belongs here",
    "absent": "cannot be read",
}


@pytest.mark.parametrize("case", [*CASES, "no file"])
def test_another_file(
    case: str, arrays: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "docstrings.npz"
    if case in CASES:
        path.write_bytes(damaged(case, arrays))
    monkeypatch.setattr(docstrings, "FILE", path)
    with pytest.raises(
        DatasetError, match=f"{CASES.get(case, 'cannot be read')}.*pip install --force-reinstall"
    ):
        load("docstrings")
    assert status("docstrings").state == "missing"


def test_words_of_a_docstring() -> None:
    text = """Solve a_x with NumPy's x2 solver, a bc; SOLVE.

    .. versionadded:: 1.0
    Returns: the root
    >>> import secret
    """
    assert maker.words_of(text) == Counter(
        {"solve": 2, "with": 1, "solver": 1, "returns": 1, "the": 1, "root": 1}
    )


def test_docstrings_of_a_module() -> None:
    source = "'''module'''\nclass B:\n  'b'\n  def f(self):\n    'f'\ndef a():\n  'a'\n  1\ndef c(): pass\n"
    assert list(maker.texts(ast.parse(source))) == [("B", "b"), ("f", "f"), ("a", "a")]


def test_near_copies_are_left_out() -> None:
    """Across classes too; an overlap of exactly 60 % stays."""
    one = Docstring("one", Counter("abcd"))
    copy, near, far = (Docstring("other", Counter(words)) for words in ("abcd", "abcde", "abcx"))
    assert maker.distinct([[one], [copy, near, far]]) == [(0, one), (1, far)]
    assert maker.distinct([[one], [Docstring("edge", Counter("abc" + "x"))]])[1][0] == 1
    assert len(maker.distinct([[one, copy, near]])) == 1


def test_the_split_by_hand() -> None:
    assert np.flatnonzero(maker.is_test([0] * 11 + [1] * 4 + [2] * 5)).tolist() == [4, 9, 19]


def test_the_file_is_the_same_on_every_day(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(maker.packed(arrays))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert [entry.date_time[0] for entry in archive.infolist()] == [1980] * len(TYPES)
    assert fingerprint(read(tmp_path / "a.npz")) == SHA256


def test_versions_must_be_the_pinned_ones() -> None:
    pins = Path("constraints.txt").read_text(encoding="utf-8")
    other = "\n".join(f"{line}.9" if line.startswith("sympy==") else line for line in pins.splitlines())
    with pytest.raises(SystemExit, match=r"sympy is .*: install -c constraints\.txt first"):
        maker.check_versions(other)


@pytest.mark.parametrize("name", ["scipy.sparse", "torch.nn"])
def test_it_is_what_the_sources_say(name: str, arrays: dict[str, np.ndarray]) -> None:
    """Every stored docstring of a class, word by word; the whole file takes half a minute to make."""
    try:
        maker.check_versions(Path("constraints.txt").read_text(encoding="utf-8"))
    except SystemExit as reason:
        pytest.skip(f"other versions than the pinned ones: {reason}")
    words, names = lines(arrays["vocabulary"]), lines(arrays["names"])
    vocabulary = set(words)
    found: dict[str, list[Counter[str]]] = {}
    for one in maker.docstrings_of(name):
        known = Counter({word: count for word, count in one.words.items() if word in vocabulary})
        found.setdefault(one.name, []).append(known)
    offsets = np.concatenate([[0], np.cumsum(arrays["lengths"], dtype=np.int64)])
    documents = np.flatnonzero(arrays["targets"] == CLASSES.index(name))
    assert len(documents) > 100
    for document in documents:
        entries = slice(offsets[document], offsets[document + 1])
        chosen = [words[word] for word in arrays["words"][entries]]
        stored = dict(zip(chosen, arrays["counts"][entries].tolist(), strict=True))
        assert stored in [dict(one) for one in found[names[document]]]
