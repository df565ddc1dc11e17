"""The experiments as data: the paper's settings and figures as the paper prints them."""

from __future__ import annotations

import pytest

from cosnorm import data, evidence, experiments
from cosnorm.experiments import Printed, Scale, choosing, fair, paper
from cosnorm.networks import NORMS, WHOLE


def test_mnist_is_the_papers_protocol() -> None:
    mnist = experiments.get("mnist")
    replica = mnist.replica("cosine", "paper", seed=2)
    assert (replica.sizes, replica.batch_size, replica.epochs) == ((784, 1000, 1000, 10), 100, 200)
    assert (replica.constant, replica.std, replica.seed) == (1e-4, 0.1, 2)
    rates = {"none": 0.1, "cosine": 10.0, "batch": 5.0}
    for technique, rate in rates.items():
        assert mnist.techniques[technique].source == "paper"
        for scale in ("short", "paper"):
            assert mnist.replica(technique, scale, 0).learning_rate == rate
    assert mnist.techniques["centered"].source == "ours"
    assert mnist.scales["paper"].tail == 50
    assert mnist.scales["paper"].seeds >= 5
    assert mnist.scales["short"].seeds >= 3


def test_mnist_holds_table_1() -> None:
    assert experiments.get("mnist").printed == {
        "none": Printed(196.588, 0.887),
        "cosine": Printed(143.922, 0.074),
        "batch": Printed(151.647, 85.753),
        "weight": Printed(193, 0),
        "max_norm": Printed(150.588, 10.727),
    }


@pytest.mark.parametrize("name", sorted(experiments.registry()))
def test_every_experiment_hangs_together(name: str) -> None:
    experiment = experiments.get(name)
    assert experiment.name == name
    for key, technique in experiment.techniques.items():
        norm = technique.norm or key
        assert norm in {*NORMS, *WHOLE} or experiment.fitter is not None
        assert key == norm or key.startswith(f"{norm}-"), "figures take color and name from it"
        assert technique.against is None or technique.against in experiment.techniques
        assert technique.against != key
    # A linear classifier is fitted in minutes: there is nothing between trying it and all of it.
    scales = ["smoke", "paper"] if experiment.fitter is not None else ["smoke", "short", "paper"]
    assert list(experiment.scales) == scales
    for scale in experiment.scales.values():
        assert set(scale.rates) <= set(experiment.techniques)
        assert scale.note or not scale.rates, "rates that differ need a reason"
        assert "TODO" not in scale.note
    smoke = experiment.scales["smoke"]
    assert data.DATASETS[smoke.dataset].embedded, "smoke must need no network"
    assert smoke.threads == 1
    assert set(experiment.printed) <= set(experiment.techniques)
    assert bool(experiment.printed) <= bool(experiment.source)
    assert experiment.recorded


def test_every_technique_gets_the_same_rates() -> None:
    tried: dict[str, list[float]] = {}
    for name, technique in experiments.get("rates").techniques.items():
        key, _, point = name.partition("-at-")
        rate, _, gain = point.partition("-gain-")
        assert technique.learning_rate == float(rate)
        assert technique.settings.get("gain_rate") == (float(gain) if gain else None)
        if not gain:
            tried.setdefault(key, []).append(technique.learning_rate)
        else:
            assert key == "cosine_affine", "the only one with a learned scale and shift behind a cosine"
    assert set(tried) == set(experiments.get("relatives").techniques)
    beyond = {key: tuple(found[len(choosing.RATES) :]) for key, found in tried.items()}
    assert {found[: len(choosing.RATES)] for found in map(tuple, tried.values())} == {choosing.RATES}
    assert {key: more for key, more in beyond.items() if more} == fair.FURTHER
    # Of the rest a dense layer cannot use one, and the others are parts or spatial forms of these.
    left = set(NORMS) - set(tried)
    assert left == {"instance", "group", "detach_mean", "detach_std"}


def test_rates_beyond_the_grid_are_not_chosen_from() -> None:
    records = evidence.load("rates", "smoke")
    chosen = experiments.get("relatives").choice("cosine", "smoke")
    assert chosen.rates == len(choosing.RATES)
    assert (
        chosen.rate
        == choosing.best([r for r in records if r.settings["learning_rate"] in choosing.RATES])["cosine"]
    )


@pytest.mark.parametrize(
    ("name", "scale", "chosen"),
    [
        ("rates_newsgroups", "smoke", paper.TEXT_RATES),
        ("rates_cifar10", "smoke", paper.IMAGE_RATES),
    ],
)
def test_the_chosen_rates_are_those_of_the_fewest_validation_errors(
    name: str, scale: str, chosen: dict[str, float]
) -> None:
    records, experiment = evidence.load(name, scale), experiments.get(name)
    assert len(records) == len(experiment.techniques) * experiment.scales[scale].seeds
    assert {r.settings["held_out"] for r in records} != {None}, "the test set may not choose"
    assert choosing.best(records) == chosen


@pytest.mark.parametrize(("epochs", "tail"), [(1, 1), (3, 1), (20, 5), (199, 49), (200, 50), (1000, 50)])
def test_tail_is_a_quarter_and_at_most_fifty(epochs: int, tail: int) -> None:
    assert Scale("digits", (64, 10), 50, epochs, 3).tail == tail


def test_the_environment_chooses_the_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    mnist = experiments.get("mnist")
    monkeypatch.delenv("COSNORM_SCALE", raising=False)
    assert mnist.scale()[0] == "smoke"
    monkeypatch.setenv("COSNORM_SCALE", "short")
    assert mnist.scale()[0] == "short"
    assert mnist.scale("paper")[0] == "paper"
    monkeypatch.setenv("COSNORM_SCALE", "huge")
    with pytest.raises(ValueError, match="no scale 'huge'; choose one of smoke, short, paper"):
        mnist.scale()


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no experiment 'minst'; choose from mnist"):
        experiments.get("minst")
    with pytest.raises(ValueError, match="no technique 'cosin'; choose from none, cosine, centered, batch"):
        experiments.get("mnist").replica("cosin", "smoke", 0)
