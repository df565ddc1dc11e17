"""The oracles themselves, checked by hand and by finite differences: nothing here uses the package."""

from __future__ import annotations

import math

import numpy as np
import oracles
import pytest

from .cases import Case, Law, cases


def test_a_right_angle_and_a_45_degree_angle() -> None:
    x, w = [[3.0, 0.0]], [[0.0, 5.0], [2.0, 2.0], [-7.0, 0.0], [0.0, 0.0]]
    np.testing.assert_allclose(oracles.linear(x, w), [[0.0, math.sqrt(0.5), -1.0, 0.0]], atol=1e-15)


def test_centring_is_pearson_correlation() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(5.0, 1.0, (3, 8)), rng.normal(-2.0, 1.0, (2, 8))
    expected = np.corrcoef(x, w)[:3, 3:]
    np.testing.assert_allclose(oracles.linear(x, w, centered=True), expected, atol=1e-14)


def test_appending_by_hand() -> None:
    # (1, 0, 2) and (0, 1, 2): dot product 4, lengths sqrt(5).
    assert oracles.linear([1.0, 0.0], [[0.0, 1.0]], constant=2.0) == pytest.approx([0.8])


def test_appending_to_centered_vectors_by_hand() -> None:
    # (0, 2) becomes (-1, 1, 1) and (8, 4) becomes (2, -2, 1): dot product -3, squared lengths 3 and 9.
    options = {"centered": True, "constant": 1.0}
    assert oracles.linear([0.0, 2.0], [[8.0, 4.0]], **options) == pytest.approx([-3 / math.sqrt(27)])


def test_patches_of_a_row_of_four() -> None:
    places = oracles.Patches((4,), (3,), padding=1)
    rows = places.gather(np.array([[[10.0, 20.0, 30.0, 40.0]]]), groups=1)[0, 0]
    np.testing.assert_array_equal(rows, [[0, 10, 20], [10, 20, 30], [20, 30, 40], [30, 40, 0]])


def test_patches_with_stride_and_dilation() -> None:
    places = oracles.Patches((7,), (2,), stride=2, dilation=3)
    np.testing.assert_array_equal(places.index, [[0, 3], [2, 5]])


def test_same_padding_puts_the_odd_cell_last() -> None:
    places = oracles.Patches((3,), (2,), padding="same")
    np.testing.assert_array_equal(places.index, [[0, 1], [1, 2], [2, 3]])  # 3 means padding


def test_groups_see_their_own_channels() -> None:
    x = np.arange(1.0, 5.0).reshape(1, 4, 1)
    rows = oracles.Patches((1,), (1,)).gather(x, groups=2)
    np.testing.assert_array_equal(rows[0], [[[1, 2]], [[3, 4]]])


def test_padding_modes_fill_as_named() -> None:
    filled = {
        mode: oracles.Patches((4,), (1,), padding=2, padding_mode=mode).index[:, 0].tolist()
        for mode in ("zeros", *oracles.PAD_MODES)
    }
    assert filled == {
        "zeros": [4, 4, 0, 1, 2, 3, 4, 4],
        "reflect": [2, 1, 0, 1, 2, 3, 2, 1],
        "replicate": [0, 0, 0, 1, 2, 3, 3, 3],
        "circular": [2, 3, 0, 1, 2, 3, 0, 1],
    }


def test_lengths_do_not_overflow_or_vanish() -> None:
    np.testing.assert_allclose(oracles.lengths(np.array([[3e200, 4e200], [3e-200, 4e-200]])), [5e200, 5e-200])


@pytest.mark.parametrize("case", cases(Law.DERIVATIVE))
def test_gradients_are_finite_differences_of_the_values(case: Case) -> None:
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=case.input_shape), rng.normal(size=case.weight_shape)
    g = rng.normal(size=case.values(x, w).shape)
    dx, dw = case.gradients(x, w, g)
    step, along_x, along_w = 1e-6, rng.normal(size=x.shape), rng.normal(size=w.shape)
    ahead, behind = (
        (g * case.values(x + sign * step * along_x, w + sign * step * along_w)).sum() for sign in (1, -1)
    )
    slope = (dx * along_x).sum() + (dw * along_w).sum()
    assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=1e-7, abs=1e-8)
