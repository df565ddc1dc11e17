"""The measured matrix against what can be derived by hand, one reason a row."""

from __future__ import annotations

import pytest

from cosnorm.invariances import ROUNDING, TRANSFORMATIONS, Matrix, matrix
from cosnorm.techniques import TECHNIQUES

WEIGHT_SCALES = {"row_scale", "matrix_scale"}
EXAMPLE_SCALES = {"example_scale", "batch_scale", "dataset_scale"}
#: A function of one example at a time, the same in training and inference.
ALONE = {"order", "company", "mode"}
#: A function of the whole batch, whatever the order of its examples.
TOGETHER = {"order"}
#: Statistics frozen: one example at a time, but another function than in training.
FROZEN = {"order", "company"}

NOTHING: set[str] = set()

# (technique, mode): what leaves the output the same, and what it takes up. All else changes it.
EXPECTED: dict[tuple[str, str], tuple[set[str], set[str]]] = {
    # w.x is linear in w and in x, so it takes up every factor; a shift of x adds c times the sum of w.
    ("none", "both"): (ALONE, WEIGHT_SCALES | EXAMPLE_SCALES),
    # The same function as none: the rule adds to the loss.
    ("weight_decay", "both"): (ALONE, WEIGHT_SCALES | EXAMPLE_SCALES),
    # The same function as none: what a unit is divided by, the next layer is multiplied by.
    ("scaling", "both"): (ALONE, WEIGHT_SCALES | EXAMPLE_SCALES),
    # min(|w|, r) times the direction of w: above r no factor passes, below r all of it. Linear in x.
    ("max_norm", "both"): (ALONE, EXAMPLE_SCALES),
    # w/|w| . x/|x|: neither length matters; a shift turns both directions.
    ("cosine", "both"): (ALONE | WEIGHT_SCALES | EXAMPLE_SCALES, NOTHING),
    # The cosine of w - mean(w) and x - mean(x): besides lengths, no multiple of (1, ..., 1) matters.
    ("centered", "both"): (
        ALONE
        | WEIGHT_SCALES
        | EXAMPLE_SCALES
        | {"row_shift", "matrix_shift", "example_shift", "batch_shift", "dataset_shift"},
        NOTHING,
    ),
    # g w/|w| . x, linear in x; a learned gain is not part of w.
    ("weight", "both"): (ALONE | WEIGHT_SCALES, EXAMPLE_SCALES),
    ("weight_learned", "both"): (ALONE | WEIGHT_SCALES, EXAMPLE_SCALES),
    # (a - mean)/sd over the batch, unit by unit: a -> s a + t of a unit drops out if it is the same for all
    # examples. Scaling w does that; so do scaling all x, and adding any one vector v to all x (t = w.v). A
    # shift of w adds c times the sum of x, which differs between examples.
    ("batch", "training"): (
        TOGETHER
        | WEIGHT_SCALES
        | {"batch_scale", "batch_shift", "feature_shift", "dataset_scale", "dataset_shift"},
        NOTHING,
    ),
    # An affine function of x with fixed numbers; only statistics taken anew can follow.
    ("batch", "inference"): (FROZEN | {"dataset_scale", "dataset_shift"}, NOTHING),
    # The one normalized layer of the technique is batch norm's.
    ("early_batch", "training"): (
        TOGETHER
        | WEIGHT_SCALES
        | {"batch_scale", "batch_shift", "feature_shift", "dataset_scale", "dataset_shift"},
        NOTHING,
    ),
    ("early_batch", "inference"): (FROZEN | {"dataset_scale", "dataset_shift"}, NOTHING),
    # g w/|w| . x less its mean over the batch: linear in the batch, blind to a common shift of all x.
    ("mean_only_batch", "training"): (
        TOGETHER | WEIGHT_SCALES | {"batch_shift", "feature_shift", "dataset_shift"},
        {"batch_scale", "dataset_scale"},
    ),
    # A fixed mean is subtracted behind the weight normalization, whose blindness to |w| stays.
    ("mean_only_batch", "inference"): (FROZEN | WEIGHT_SCALES | {"dataset_shift"}, {"dataset_scale"}),
    # Cosines less their mean: what cosines ignore drops out before, and a shift of x is not that.
    ("cosine_mean_only", "training"): (TOGETHER | WEIGHT_SCALES | EXAMPLE_SCALES, NOTHING),
    ("cosine_mean_only", "inference"): (FROZEN | WEIGHT_SCALES | EXAMPLE_SCALES, NOTHING),
    # A function of the cosine alone.
    ("cosine_affine", "both"): (ALONE | WEIGHT_SCALES | EXAMPLE_SCALES, NOTHING),
    # (a - mean)/sd over the units of one example: a -> s a + t drops out if it is the same for all units.
    # Scaling W or x does that, and adding one vector v to all rows (t = v.x). One row alone does not.
    **{
        (name, "both"): (
            ALONE | {"matrix_scale", "matrix_shift", "matrix_vector"} | EXAMPLE_SCALES,
            NOTHING,
        )
        # AdaNorm is a function of layer norm's output; detaching changes no output; groups are layers.
        for name in (
            "layer",
            "layer_simple",
            "detach",
            "detach_mean",
            "detach_std",
            "adanorm",
            "group",
        )
    },
    # Data with their mean subtracted and divided by one number, then ReLU(g w/|w| . x) less a constant:
    # fixed numbers stand before and behind, so only the data set's own scale and shift drop out.
    ("propagation", "both"): (ALONE | WEIGHT_SCALES | {"dataset_scale", "dataset_shift"}, NOTHING),
    # Statistics of the past, which know nothing of the change; and the stream began at mean 0, variance 1,
    # so they are never those of the data alone. The order of the past counts.
    ("online", "training"): (NOTHING, NOTHING),
    ("online", "inference"): (FROZEN, NOTHING),
}

# A convolution sees every position: what is added to the pre-activations must be the same at all of them.
CONVOLUTION = EXPECTED | {
    # One mean over units and positions cannot remove v . patch, which differs from position to position.
    **{
        (name, "both"): (ALONE | {"matrix_scale"} | EXAMPLE_SCALES, NOTHING)
        for name in (
            "layer",
            "layer_simple",
            "detach",
            "detach_mean",
            "detach_std",
            "adanorm",
            "group",
        )
    },
    # (a - mean)/sd over the positions of one unit in one example: a row may be scaled, a whole example or a
    # channel of it shifted (w . v at every position). A shift of w adds c times the sum of the patch.
    ("instance", "both"): (
        ALONE
        | WEIGHT_SCALES
        | EXAMPLE_SCALES
        | {"example_shift", "batch_shift", "feature_shift", "dataset_shift"},
        NOTHING,
    ),
}


@pytest.fixture(scope="module")
def dense() -> Matrix:
    return matrix()


@pytest.fixture(scope="module")
def convolution() -> Matrix:
    return matrix(convolution=True, seeds=[0])


def verdicts(found: Matrix, verdict: str) -> dict[tuple[str, str], set[str]]:
    return {
        (row.technique, row.mode): {key for key, cell in row.cells.items() if cell.verdict == verdict}
        for row in found
    }


@pytest.mark.parametrize("layer", ["dense", "convolution"])
def test_every_cell_is_the_derived_one(layer: str, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(layer)
    expected = EXPECTED if layer == "dense" else CONVOLUTION
    assert verdicts(found, "same") == {row: same for row, (same, _) in expected.items()}
    assert verdicts(found, "scales") == {row: scales for row, (_, scales) in expected.items()}


@pytest.mark.parametrize("layer", ["dense", "convolution"])
def test_nothing_lies_between_rounding_and_a_real_change(layer: str, request: pytest.FixtureRequest) -> None:
    cells = [cell for row in request.getfixturevalue(layer) for cell in row.cells.values()]
    numbers = [n for cell in cells for n in (cell.change, cell.off_scale) if n is not None]
    assert max(n for n in numbers if n <= ROUNDING) < 1e-11
    assert min(n for n in numbers if n > ROUNDING) > 1e-3


def test_every_technique_and_transformation_is_there(dense: Matrix, convolution: Matrix) -> None:
    assert {row.technique for row in convolution} == set(TECHNIQUES)
    assert {row.technique for row in dense} == set(TECHNIQUES) - {"instance"}
    assert all(list(row.cells) == [t.key for t in TRANSFORMATIONS] for row in (*dense, *convolution))


# Ba, Kiros and Hinton 2016, Table 1, by our names. "Re-centering" of the weight matrix there adds one vector
# to all rows, that of the data one vector to all examples; batch norm's statistics are taken anew.
BA = {
    "batch": {"matrix_scale", "row_scale", "dataset_scale", "dataset_shift"},
    "weight": {"matrix_scale", "row_scale"},
    "layer": {"matrix_scale", "matrix_vector", "dataset_scale", "example_scale"},
}
BA_COLUMNS = {"matrix_scale", "matrix_vector", "row_scale", "dataset_scale", "dataset_shift", "example_scale"}


@pytest.mark.parametrize("technique", BA)
def test_the_published_table_is_part_of_it(dense: Matrix, technique: str) -> None:
    same = {key for key, cell in dense[technique].cells.items() if cell.verdict == "same"}
    assert same & BA_COLUMNS == BA[technique]


def test_two_rows_only_where_training_and_inference_differ(dense: Matrix) -> None:
    modes = {technique: [r.mode for r in dense if r.technique == technique] for technique in TECHNIQUES}
    statistics = ("batch", "early_batch", "mean_only_batch", "cosine_mean_only", "online")
    for technique, found in modes.items():
        expected = ["training", "inference"] if technique in statistics else ["both"]
        assert found == ([] if technique == "instance" else expected), technique


def test_guards_bend_what_the_equations_keep() -> None:
    keys = ["cosine", "layer", "batch", "weight"]
    used, exact = matrix(keys, as_used=True, seeds=[0]), matrix(keys, seeds=[0])
    # The constant 1e-4 against examples of length about 3, the smallest a twentieth of that.
    assert 1e-9 < used["cosine"].cells["example_scale"].change < 1e-3
    assert 1e-9 < used["layer"].cells["example_scale"].change < 1e-2
    assert 1e-9 < used["batch"].cells["row_scale"].change < 1e-2
    # Weight normalization has no guard.
    assert used["weight"].pattern == exact["weight"].pattern


def test_padding_bends_what_unpadded_convolutions_keep() -> None:
    keys = ["centered", "instance"]
    used = matrix(keys, as_used=True, convolution=True, seeds=[0])
    exact = matrix(keys, convolution=True, seeds=[0])
    for key in keys:
        assert exact[key].cells["example_shift"].verdict == "same"
        assert used[key].cells["example_shift"].change > 0.01
