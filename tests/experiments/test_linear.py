"""The linear anchor: fitted to what the networks see, chosen without the test documents."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cosnorm import data, experiments, record
from cosnorm.experiments.identity import identity, settings_of
from cosnorm.experiments.linear import CLASSIFIERS, LINEAR, LinearFitter
from cosnorm.record import Record


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


@pytest.fixture(scope="module")
def made(folder: Path) -> dict[str, Record]:
    records = experiments.run("linear", "all", "smoke", device="cpu", records=folder)
    return {each.technique: each for each in records}


def test_both_classifiers_are_recorded_as_one_epoch(made: dict[str, Record], folder: Path) -> None:
    assert set(made) == set(CLASSIFIERS) == {"logistic", "ridge"}
    for name, each in made.items():
        assert record.read(record.path_of(folder, "linear", "smoke", name, 0)) == each
        assert all(len(curve) == 1 for curve in each.curves.values())
        assert each.curves["test_error"][0] < 0.25 * each.settings["test_examples"]
        assert each.curves["train_error"][0] < each.curves["test_error"][0]
        assert each.settings["norm_settings"]["solver"].startswith(("LogisticRegression", "RidgeClassifier"))
        assert "cross-validation on the training documents" in each.settings["norm_settings"]["chosen_by"]
        assert each.provenance["contributions"][0]["epochs"] == [1, 1]
        assert each.provenance["command"].startswith(f"cosnorm run linear --norm {name} --scale smoke")


def test_the_strength_is_that_of_the_fewest_errors_in_cross_validation(made: dict[str, Record]) -> None:
    for name, each in made.items():
        (errors,), (strength,) = each.curves["cross_validation_error"], each.curves["strength"]
        values = CLASSIFIERS[name].values
        assert len(errors) == len(values)
        assert strength == values[errors.index(min(errors))]
        assert values[0] < strength < values[-1], "the grid reaches far enough on both sides"
        assert min(errors) > each.curves["train_error"][0], "they were held out"


def test_logistic_regression_is_the_minimum_of_its_loss(made: dict[str, Record]) -> None:
    """Against a fit of our own: gradient descent with line search on the formula that the record gives."""
    dataset = data.load("docstrings")
    inputs, tested = (
        torch.from_numpy(rows.dense()).double() for rows in (dataset.train_inputs, dataset.test_inputs)
    )
    targets = torch.from_numpy(dataset.train_targets)
    weight = torch.zeros(10, 2987, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(10, dtype=torch.float64, requires_grad=True)
    strength = made["logistic"].curves["strength"][0]
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(inputs @ weight.T + bias, targets)
        (total := loss + weight.square().sum() / (2 * strength * len(targets))).backward()
        return total

    optimizer.step(closure)
    with torch.no_grad():
        train_loss = F.cross_entropy(inputs @ weight.T + bias, targets).item()
        logits = tested @ weight.T + bias
        test_targets = torch.from_numpy(dataset.test_targets)
        test_loss = F.cross_entropy(logits, test_targets).item()
        errors = int((logits.argmax(1) != test_targets).sum())
    curves = made["logistic"].curves
    assert curves["train_loss"][0] == pytest.approx(train_loss, rel=0.01)
    assert curves["test_loss"][0] == pytest.approx(test_loss, rel=0.01)
    assert abs(curves["test_error"][0] - errors) <= 3


def test_ridge_regression_solves_its_normal_equations(made: dict[str, Record]) -> None:
    dataset = data.load("docstrings")
    inputs, tested = (rows.dense().astype(np.float64) for rows in (dataset.train_inputs, dataset.test_inputs))
    wanted = np.where(dataset.train_targets[:, None] == np.arange(10), 1.0, -1.0)
    centered, means = inputs - inputs.mean(0), wanted.mean(0)
    gram = centered @ centered.T + made["ridge"].curves["strength"][0] * np.eye(len(inputs))
    dual = np.linalg.solve(gram, wanted - means)
    scores = (tested - inputs.mean(0)) @ (centered.T @ dual) + means
    assert int((scores.argmax(1) != dataset.test_targets).sum()) == made["ridge"].curves["test_error"][0]
    loss = np.square(scores - np.where(dataset.test_targets[:, None] == np.arange(10), 1.0, -1.0)).mean()
    assert made["ridge"].curves["test_loss"][0] == pytest.approx(loss, rel=1e-2)


def test_the_test_documents_choose_nothing(made: dict[str, Record]) -> None:
    dataset = data.load("docstrings")
    other = dataclasses.replace(
        dataset, test_inputs=dataset.test_inputs[:50], test_targets=dataset.test_targets[:50]
    )
    curves = LinearFitter().fit(other, "ridge", 0)
    assert curves.observed == {
        name: made["ridge"].curves[name] for name in ("strength", "cross_validation_error")
    }
    assert curves.test_error[0] < made["ridge"].curves["test_error"][0]


def test_the_seed_draws_the_folds(made: dict[str, Record]) -> None:
    again, other = (LinearFitter().fit(data.load("docstrings"), "ridge", seed) for seed in (0, 1))
    expected = made["ridge"].curves["cross_validation_error"]
    assert again.observed["cross_validation_error"] == expected
    assert other.observed["cross_validation_error"] != expected


def test_what_has_a_record_is_not_fitted_again(
    made: dict[str, Record], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LinearFitter, "fit", None)
    told: list[bool] = []
    again = experiments.run(
        "linear", "all", "smoke", device="cpu", records=folder, on_record=lambda _, there: told.append(there)
    )
    assert again == list(made.values())
    assert told == [True, True]
    linear = experiments.plan("linear", "ridge", "smoke", 1, "cpu")
    planned = settings_of(linear.experiment, linear.scale, linear.replica("ridge", 0))
    assert identity(planned, 0) == identity(made["ridge"].settings, 0)


def test_the_split_and_the_vectors_are_those_of_the_networks() -> None:
    networks = experiments.get("newsgroups")
    for name, scale in LINEAR.scales.items():
        theirs = networks.scales[name]
        assert (scale.dataset, scale.preparation, scale.validation) == (theirs.dataset, theirs.preparation, 0)
        assert scale.sizes == (theirs.sizes[0], theirs.sizes[-1])


def test_without_scikit_learn_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from cosnorm import data\n"
        "from cosnorm.experiments.linear import LinearFitter\n"
        "try: LinearFitter().fit(data.load('docstrings'), 'ridge', 0)\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "needs scikit-learn: run pip install scikit-learn" in done.stdout
