"""A reference for the errors on 20 Newsgroups: linear classifiers on the same vectors, split the same way.

The paper's best network misclassifies 29.4 % of the test documents. To see what these TF-IDF vectors allow,
scikit-learn fits two linear classifiers to them: multinomial logistic regression, which is the paper's
network without hidden layers, and ridge regression on the targets 1 and -1. The strength of the
regularization is chosen by cross-validation on the training documents. The test documents are used once, for
the classifier that is then fitted to all training documents.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cosnorm import data
from cosnorm.data import SparseRows
from cosnorm.experiments.experiment import Experiment, Scale, Technique
from cosnorm.experiments.paper import NEWSGROUPS
from cosnorm.training import Curves

#: Parts of the training documents; each is held out once.
FOLDS = 5


@dataclass(frozen=True)
class Classifier:
    """A linear classifier, and how to choose the strength of its regularization."""

    solver: str  # a description for the record, as is the loss
    loss: str
    parameter: str  # of scikit-learn, which sets the strength
    values: tuple[float, ...]
    make: Callable[[float], Any]
    loss_of: Callable[[Any, Any, np.ndarray], float]  # mean loss of a fitted one on inputs and targets


def _logistic(value: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=value, solver="lbfgs", max_iter=10_000)


def _ridge(value: float) -> Any:
    from sklearn.linear_model import RidgeClassifier

    return RidgeClassifier(alpha=value, solver="sparse_cg", tol=1e-4)


def _cross_entropy(fitted: Any, inputs: Any, targets: np.ndarray) -> float:
    probabilities = fitted.predict_proba(inputs)[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)).mean())


def _squared_error(fitted: Any, inputs: Any, targets: np.ndarray) -> float:
    scores = fitted.decision_function(inputs)
    wanted = np.full(scores.shape, -1.0)
    wanted[np.arange(len(targets)), targets] = 1.0
    return float(np.square(scores - wanted).mean())


CLASSIFIERS = {
    "logistic": Classifier(
        "LogisticRegression of scikit-learn, lbfgs",
        "cross-entropy, plus half the squared norm of the weights over C times the number of documents",
        "C",
        (0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        _logistic,
        _cross_entropy,
    ),
    "ridge": Classifier(
        "RidgeClassifier of scikit-learn, conjugate gradients",
        "squared error from the targets 1 and -1, plus alpha times the squared norm of the weights",
        "alpha",
        (1.0, 3.0, 10.0, 30.0, 100.0, 300.0),
        _ridge,
        _squared_error,
    ),
}


class LinearFitter:
    """Fits the classifiers of this experiment; see :class:`cosnorm.experiments.experiment.Fitter`."""

    def settings(self, scale: Scale, technique: str) -> dict[str, Any]:
        """Every choice, as it stands in a record."""
        classifier = CLASSIFIERS[technique]
        return {
            "inputs": "as prepared",
            "network": "linear",
            "sizes": list(scale.sizes),
            "norm": technique,
            "output_layer": "linear with a learned bias, which is not regularized",
            "loss": "see norm_settings",
            "learning_rate": None,
            "batch_size": scale.batch_size,
            "epochs": 1,
            "tail": 1,
            "precision": "float64",
            "train_curves": "all training documents, after the fit",
            "norm_settings": {
                "solver": classifier.solver,
                "loss": classifier.loss,
                "parameter": classifier.parameter,
                "values": list(classifier.values),
                "chosen_by": f"fewest errors in {FOLDS}-fold cross-validation on the training documents; "
                "the seed draws the folds, with equal shares of the classes",
            },
        }

    def fit(self, dataset: data.Dataset, technique: str, seed: int) -> Curves:
        """Choose the strength, fit to all training documents, and evaluate once.

        The observations are ``strength``, the chosen value, and ``cross_validation_error``, the errors over
        all folds for each value.
        """
        begin = time.perf_counter()
        classifier = CLASSIFIERS[technique]
        inputs, targets = _matrix(dataset.train_inputs), dataset.train_targets
        errors = [
            _cross_validation_errors(classifier.make(value), inputs, targets, seed)
            for value in classifier.values
        ]
        best = classifier.values[int(np.argmin(errors))]
        fitted = classifier.make(best).fit(inputs, targets)
        tested = _matrix(dataset.test_inputs)
        return Curves(
            train_loss=[classifier.loss_of(fitted, inputs, targets)],
            train_error=[_errors(fitted, inputs, targets)],
            test_loss=[classifier.loss_of(fitted, tested, dataset.test_targets)],
            test_error=[_errors(fitted, tested, dataset.test_targets)],
            observed={"strength": [best], "cross_validation_error": [errors]},
            seconds=time.perf_counter() - begin,
        )


def _cross_validation_errors(classifier: Any, inputs: Any, targets: np.ndarray, seed: int) -> int:
    from sklearn.model_selection import StratifiedKFold

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(inputs, targets)
    return sum(
        _errors(classifier.fit(inputs[kept], targets[kept]), inputs[held], targets[held])
        for kept, held in folds
    )


def _errors(fitted: Any, inputs: Any, targets: np.ndarray) -> int:
    return int((fitted.predict(inputs) != targets).sum())


def _matrix(rows: Any) -> Any:
    try:
        import sklearn  # noqa: F401
        from scipy.sparse import csr_matrix
    except ModuleNotFoundError as error:
        raise ValueError("the experiment linear needs scikit-learn: run pip install scikit-learn") from error
    assert isinstance(rows, SparseRows)
    return csr_matrix((rows.values.astype(np.float64), rows.columns, rows.offsets), shape=rows.shape)


LINEAR = Experiment(
    name="linear",
    title="Test errors on 20 Newsgroups of linear classifiers on the same vectors",
    # The solvers have no learning rate; a replica needs a number.
    techniques={name: Technique(1.0, "ours") for name in CLASSIFIERS},
    scales={
        "smoke": replace(
            NEWSGROUPS.scales["smoke"],
            sizes=(2987, 10),
            batch_size=1600,
            epochs=1,
            seeds=1,
            rates={},
            note="Docstrings of ten parts of scientific Python: for seeing the code work.",
        ),
        "paper": replace(
            NEWSGROUPS.scales["paper"],
            sizes=(21_566, 20),
            batch_size=11_200,
            epochs=1,
            seeds=1,
            note="The data of `newsgroups`, all training documents in every step of the solver.",
            threads=1,
        ),
    },
    std=NEWSGROUPS.std,
    constant=NEWSGROUPS.constant,
    recorded="loss and number of misclassified documents of training and test set after the fit, the chosen "
    "strength of regularization, and the errors in cross-validation for each strength",
    printed={},
    source="",
    test_examples=NEWSGROUPS.test_examples,
    fractions=True,
    fitter=LinearFitter(),
)
