"""Experiments as they run: each learns at smoke scale, costs what it says, and is listed in full."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from synthetic import record_of
from typer.testing import CliRunner

from cosnorm import data, evidence, experiments, record
from cosnorm.cli import app
from cosnorm.experiments import Technique, choosing, fair
from cosnorm.experiments.costing import AMOUNTS, run_operations
from cosnorm.experiments.sharing import Place
from cosnorm.training import train
from cosnorm.training.cost import operations
from cosnorm.training.engine import check

NAMES = tuple(name for name, each in experiments.registry().items() if each.fitter is None)
#: The competitor that is trained where not the first of these.
SAMPLED = ("cosine", "cosine-dropout", "cosine-3-layers", "cosine-at-3")


@pytest.fixture
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the package's records, with a complete sweep of one technique."""
    for rate in choosing.RATES:
        errors = {0.1: (9, 9, 50, 60), 0.3: (90, 80, 40, 30), 1.0: (1, 2, 30, 90), 3.0: (20,)}
        place = Place("rates_newsgroups", "short", choosing.competitor("cosine", rate))
        record.write(record_of(place, 0, errors.get(rate, (95, 95, 95, 95))), tmp_path)
    monkeypatch.setattr(choosing, "PACKAGE_RECORDS", tmp_path)
    return tmp_path


@lru_cache
def smoke_data(name: str) -> data.Dataset:
    """What an experiment trains on and is judged by at smoke scale."""
    scale = experiments.get(name).scales["smoke"]
    dataset = data.load(scale.dataset, **scale.preparation)
    return dataset.hold_out(scale.validation) if scale.validation else dataset


@pytest.mark.parametrize("name", NAMES)
def test_every_competitor_fits_the_data_of_its_scale(name: str) -> None:
    experiment = experiments.get(name)
    for technique in experiment.techniques:
        check(experiment.replica(technique, "smoke", 0, rate=1.0), smoke_data(name))
        for scale in ("short", "paper"):
            replica = experiment.replica(technique, scale, 3, rate=1.0)
            assert replica.sizes[-1] == {"newsgroups": 20, "cifar100": 100}.get(
                experiment.scales[scale].dataset, 10
            )
            assert replica.norm == technique.partition("-")[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("_one_thread")
def test_every_experiment_learns_at_smoke_scale(name: str) -> None:
    """One run each, with at most half the errors of guessing; the rates of a fair one are another's."""
    experiment, dataset = experiments.get(name), smoke_data(name)
    technique = next((key for key in SAMPLED if key in experiment.techniques), name)
    rate = 3.0 if experiment.techniques[technique].learning_rate is None else None
    (curves,) = train([experiment.replica(technique, "smoke", 0, rate=rate)], dataset, device="cpu")
    assert curves.diverged_epoch is None
    assert curves.test_error[-1] < 0.45 * len(dataset.test_targets)


def test_the_paper_is_followed_where_it_says_something() -> None:
    cifar = experiments.get("cifar10")
    still, moved = (cifar.replica(key, "paper", 0) for key in ("cosine", "cosine-augmented"))
    assert (still.channels, still.kernel_size, still.average) == ((64, 64), 5, 0.9999)
    assert still.sizes == (3 * 24 * 24, 384, 192, 10)
    assert still.images is not None
    assert moved.images is not None
    assert (still.images.crop, still.images.whiten, still.images.augment) == (24, True, False)
    assert (moved.images.crop, moved.images.whiten, moved.images.augment) == (24, True, True)
    text = experiments.get("newsgroups").replica("cosine", "paper", 0)
    assert (text.sizes, text.batch_size) == ((21_566, 1000, 1000, 20), 100)
    depth = experiments.get("depth")
    assert [len(depth.replica(key, "paper", 0).sizes) - 1 for key in depth.techniques] == [2, 3, 4, 5]


def test_another_reading_changes_one_thing() -> None:
    ambiguity = experiments.get("ambiguity")
    for key, technique in ambiguity.techniques.items():
        if technique.against is None:
            continue
        ours = dataclasses.asdict(ambiguity.replica(technique.against, "paper", 0))
        other = dataclasses.asdict(ambiguity.replica(key, "paper", 0))
        differing = {name for name in ours if ours[name] != other[name]}
        # The paper gives the baseline another rate where it drops units.
        read_otherwise = set(technique.settings) - set(ambiguity.techniques[technique.against].settings)
        assert differing - {"learning_rate"} == read_otherwise or key.endswith("-literal"), key
        assert "learning_rate" not in differing or key == "none-dropout"


def test_text_prepared_otherwise_is_as_wide_as_its_network() -> None:
    for name in ("words", "counts", "unclipped", "lengths"):
        experiment = experiments.get(f"ambiguity_text_{name}")
        assert smoke_data(experiment.name).features == experiment.scales["smoke"].sizes[0]
        assert experiment.scales["short"].preparation
        if data.status("newsgroups").state == "ready":
            scale = experiment.scales["short"]
            assert data.load(scale.dataset, **scale.preparation).features == scale.sizes[0]


@pytest.mark.parametrize("name", sorted(AMOUNTS))
def test_amounts_are_those_of_the_data(name: str) -> None:
    if not data.DATASETS[name].embedded and data.status(name).state != "ready":
        pytest.skip(f"{name} is not at hand")
    dataset = data.load(name)
    train_count, test_count, nonzeros = AMOUNTS[name]
    assert (len(dataset.train_targets), len(dataset.test_targets)) == (train_count, test_count)
    if isinstance(dataset.train_inputs, data.SparseRows):
        assert nonzeros == pytest.approx(len(dataset.train_inputs.values) / train_count, rel=0.01)
    else:
        assert nonzeros is None


def test_a_run_costs_what_its_replica_costs() -> None:
    assert set(AMOUNTS) >= {s.dataset for e in experiments.registry().values() for s in e.scales.values()}
    mnist = experiments.get("mnist").replica("none", "short", 0)
    assert run_operations(experiments.get("mnist"), "short", "none") == operations(mnist, 60_000, 10_000)
    rates = experiments.get("rates")
    held = operations(rates.replica("none-at-0.1", "short", 0), 50_000, 10_000)
    assert run_operations(rates, "short", "none-at-0.1") == held
    text = experiments.get("fair_newsgroups")
    sparse = operations(text.replica("none", "paper", 0, rate=1.0), 11_200, 7500, nonzeros=124.2)
    assert run_operations(text, "paper", "none") == sparse


def test_the_best_rate_is_that_of_the_fewest_held_out_errors(swept: Path) -> None:
    records = [record.read(path) for path in sorted(swept.rglob("*.json"))]
    assert choosing.best(records) == {"cosine": 0.3}, "neither diverged nor lucky in an early epoch"
    assert fair.chosen_rate("rates_newsgroups/short", "cosine") == 0.3
    comparison = experiments.get("fair_newsgroups")
    assert comparison.replica("cosine", "short", 0).learning_rate == 0.3
    better = record_of(Place("rates_newsgroups", "short", "cosine-at-0.1"), 0, (9, 9, 9, 9))
    record.write(better, swept)
    assert comparison.replica("cosine", "short", 0).learning_rate == 0.1, "new records count at once"


@pytest.mark.parametrize(("scale", "norm"), [("short", "batch"), ("paper", "cosine")])
@pytest.mark.usefixtures("swept")
def test_without_records_of_the_sweep_the_error_says_what_to_run(scale: str, norm: str) -> None:
    rates = ",".join(choosing.competitor(norm, rate) for rate in choosing.RATES)
    command = f"`cosnorm run rates_newsgroups --norm {rates} --scale {scale} --seeds 0-0`"
    with pytest.raises(ValueError, match=rf"'{norm}' is chosen by rates_newsgroups/{scale}, .*{command}"):
        experiments.plan("fair_newsgroups", norm, scale, 1, "cpu")
    assert experiments.get("fair_newsgroups").replica(norm, scale, 0, rate=2.0).learning_rate == 2.0


def test_a_sweep_never_sees_the_test_set() -> None:
    for name in ("rates", "rates_newsgroups", "rates_cifar10"):
        experiment = experiments.get(name)
        tried: dict[str, list[float]] = {}
        for technique in experiment.techniques.values():
            assert technique.norm is not None
            assert technique.learning_rate is not None
            tried.setdefault(technique.norm, []).append(technique.learning_rate)
        grid = set.intersection(*map(set, tried.values()))
        assert len(grid) >= 8, "one grid for all"
        assert {norm for norm, rates in tried.items() if set(rates) != grid} <= set(fair.FURTHER)
        assert all(scale.validation > 0 for scale in experiment.scales.values())
    scale = dataclasses.replace(experiments.get("mnist").scales["short"], validation=0)
    with pytest.raises(ValueError, match="must hold out training examples"):
        fair.sweep(experiments.get("mnist"), "open", "", {"short": scale}, {"none": Technique(None, "ours")})


def listed(*words: str) -> str:
    result = CliRunner().invoke(app, ["list", *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_list_shows_every_scale_and_its_cost() -> None:
    lines = listed().splitlines()
    assert re.split(r"  +", lines[0])[:6] == ["scale", "data", "network", "epochs", "seeds", "TFLOP per run"]
    for name, experiment in experiments.registry().items():
        start = lines.index(f"{name}: {experiment.title}")
        for line, (key, scale) in zip(lines[start + 1 :], experiment.scales.items(), strict=False):
            shown, source, _, epochs, seeds, *_ = re.split(r"  +", line)
            assert (shown, epochs, seeds) == (key, str(scale.epochs), str(scale.seeds))
            assert source.split(" ")[0] == scale.dataset
    mnist = lines[lines.index(f"mnist: {experiments.get('mnist').title}") + 3]
    assert re.split(r"  +", mnist)[5] == "118", "5.834e11 operations an epoch, 200 epochs"


def test_measured_seconds_are_means_by_device() -> None:
    records = evidence.load("mnist", "short")
    for device in {r.provenance["device_name"] for r in records}:
        seconds = [r.cost["seconds"] for r in records if r.provenance["device_name"] == device]
        mean = sum(seconds) / len(seconds)
        assert f"{mean:.3g} on {device}" in listed()
        assert f"{mean:.3g} on {device}" in listed("mnist")


def test_one_experiment_is_listed_in_full() -> None:
    text = listed("cifar10")
    experiment = experiments.get("cifar10")
    for said in (
        experiment.title,
        experiment.recorded,
        "Claims that it decides: 8, 9, 10.",
        experiment.source,
    ):
        assert said in text
    for scale in experiment.scales.values():
        assert scale.note in text
    for key in experiment.techniques:
        (line,) = re.findall(rf"^{key} .*$", text, re.MULTILINE)
        for scale in experiment.scales:
            assert f"{experiment.replica(key, scale, 0).learning_rate:g}" in line.split()
    assert re.search(
        r"^cosine-augmented .*augment=True.* none-augmented +minimum 1520, steps 11000", text, re.M
    )
    unknown = CliRunner().invoke(app, ["list", "minst"])
    assert unknown.exit_code == 1
    assert "choose from mnist" in unknown.stderr


@pytest.mark.usefixtures("swept")
def test_rates_that_are_not_chosen_yet_are_listed_as_such() -> None:
    (line,) = re.findall(r"^batch .*$", listed("fair_newsgroups"), re.MULTILINE)
    assert "by rates_newsgroups/paper" in line
