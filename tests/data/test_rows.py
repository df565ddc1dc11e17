"""Sparse rows against SciPy's and NumPy's own indexing, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cosnorm.data import SparseRows

Matrix = np.ndarray


def sparse(dense: Matrix) -> SparseRows:
    rows, columns = np.nonzero(dense)
    return SparseRows.from_entries(rows, columns, dense[rows, columns], shape=dense.shape)


values = st.sampled_from([0.0, 0.0, 0.0, 0.5, 1.0, -2.0])
shapes = st.tuples(st.integers(0, 6), st.integers(1, 5))
matrices = shapes.flatmap(lambda shape: arrays.arrays(np.float32, shape, elements=values))


@given(matrices)
def test_dense_and_back(dense: Matrix) -> None:
    rows = sparse(dense)
    np.testing.assert_array_equal(rows.dense(), dense)
    assert rows.dense().dtype == np.float32
    assert (len(rows), rows.shape, rows.width) == (len(dense), dense.shape, dense.shape[1])
    assert len(rows.values) == np.count_nonzero(dense)


@given(matrices, st.slices(6))
def test_slices(dense: Matrix, index: slice) -> None:
    np.testing.assert_array_equal(sparse(dense)[index].dense(), dense[index])


@given(matrices.filter(len), st.data())
def test_integers(dense: Matrix, data: st.DataObject) -> None:
    """In any order, more than once, and counted from the end."""
    index = np.array(data.draw(st.lists(st.integers(-len(dense), len(dense) - 1))), dtype=np.int64)
    chosen = sparse(dense)[index]
    np.testing.assert_array_equal(chosen.dense(), dense[index])
    np.testing.assert_array_equal(chosen[::-1].dense(), dense[index][::-1])


def test_the_layout_is_scipys() -> None:
    from scipy.sparse import csr_matrix

    dense = np.random.default_rng(0).poisson(0.2, (20, 30)).astype(np.float32)
    ours, theirs = sparse(dense), csr_matrix(dense)
    np.testing.assert_array_equal(ours.values, theirs.data)
    np.testing.assert_array_equal(ours.columns, theirs.indices)
    np.testing.assert_array_equal(ours.offsets, theirs.indptr)
    assert [array.dtype for array in (ours.values, ours.columns, ours.offsets)] == [
        np.float32,
        np.int32,
        np.int64,
    ]
    assert ours.nbytes == 4 * len(theirs.data) * 2 + 8 * 21


def test_a_selection_is_a_copy() -> None:
    rows = sparse(np.eye(3, dtype=np.float32))
    rows[:].values[:] = 7
    np.testing.assert_array_equal(rows.dense(), np.eye(3))


@pytest.mark.parametrize(
    "index", [1, np.int64(1), None, np.array([True, False, True]), np.array([[0]]), np.array([0.0]), "a"]
)
def test_other_indices_are_refused(index: object) -> None:
    with pytest.raises(TypeError, match=r"take rows\[i : i \+ 1\], for a mask rows\[numpy.flatnonzero"):
        sparse(np.eye(3, dtype=np.float32))[index]  # pyright: ignore[reportArgumentType]


def test_a_row_beyond_the_last() -> None:
    with pytest.raises(IndexError):
        sparse(np.eye(3, dtype=np.float32))[np.array([3])]


WRONG = [
    ([1.0, 2.0], [0, 1], [0, 2, 1], 2, "offsets must ascend from 0 to the number of entries, 2"),
    ([1.0, 2.0], [0, 1], [0, 2, 1, 2], 2, "offsets must ascend"),
    ([1.0, 2.0], [0, 1], [1, 2], 2, "offsets must ascend"),
    ([1.0, 2.0], [0, 1], [0, 1], 2, "offsets must ascend"),
    ([], [], [], 2, "offsets must ascend"),
    ([1.0, 2.0], [0], [0, 1], 2, "2 values and 1 columns"),
    ([1.0, 2.0], [0, 2], [0, 2], 2, "columns must be from 0 to 1"),
    ([1.0, 2.0], [-1, 1], [0, 2], 2, "columns must be from 0 to 1"),
    ([1.0, 2.0], [1, 0], [0, 2], 2, "columns of a row must ascend, each at most once"),
    ([1.0, 2.0], [1, 1], [0, 2], 2, "columns of a row must ascend, each at most once"),
    ([1.0, 2.0, 3.0], [1, 0, 0], [0, 1, 3], 2, "columns of a row must ascend, each at most once"),
]


@pytest.mark.parametrize(("entries", "columns", "offsets", "width", "message"), WRONG)
def test_arrays_that_are_no_matrix(
    entries: list, columns: list, offsets: list, width: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SparseRows(
            np.array(entries, np.float32), np.array(columns, np.int32), np.array(offsets, np.int64), width
        )


@pytest.mark.parametrize("name", ["values", "columns", "offsets"])
def test_types_are_exact(name: str) -> None:
    right = {"values": np.ones(1, np.float32), "columns": np.zeros(1, np.int32), "offsets": np.array([0, 1])}
    SparseRows(**right, width=1)
    for wrong in (right[name].astype(np.float16), right[name].tolist(), right[name].reshape(1, -1)):
        with pytest.raises(ValueError, match=f"{name} must be a one-dimensional array of"):
            SparseRows(**{**right, name: wrong}, width=1)


def test_empty_rows_between_others() -> None:
    """Columns may fall from a row to the next, with empty rows at every place."""
    rows = SparseRows.from_entries([1, 3], [4, 0], [1.0, 2.0], shape=(5, 5))
    assert rows.offsets.tolist() == [0, 0, 1, 1, 2, 2]
    assert repr(rows) == "SparseRows(5 rows of width 5, 2 entries)"


@pytest.mark.parametrize("rows", [[1, 0], [-1, 0], [0, 2]])
def test_entries_in_the_wrong_row(rows: list[int]) -> None:
    with pytest.raises(ValueError, match="row numbers must ascend from 0 to at most 1"):
        SparseRows.from_entries(rows, [0, 1], [1.0, 1.0], shape=(2, 2))
