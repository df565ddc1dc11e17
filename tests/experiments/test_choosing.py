"""Learning rates by records: from complete grids only, one's own records first, and said where from."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from synthetic import record_of
from typer.testing import CliRunner

from cosnorm import experiments, record
from cosnorm.cli import app
from cosnorm.experiments import choosing, fair, sharing
from cosnorm.experiments.choosing import RATES, Choice, Search, competitor
from cosnorm.experiments.experiment import Technique
from cosnorm.experiments.sharing import Place

SOURCE = "rates_newsgroups/short"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the package's records."""
    folder = tmp_path / "package"
    folder.mkdir()
    monkeypatch.setattr(choosing, "PACKAGE_RECORDS", folder)
    return folder


def write(folder: Path, rate: float, errors: int | None, seed: int = 0, norm: str = "cosine") -> Path:
    """A run of the sweep with so many errors in every epoch; it diverged if ``None``."""
    place = Place(*SOURCE.split("/"), competitor(norm, rate))
    curve = [5] if errors is None else [errors] * 4
    return record.write(record_of(place, seed, curve), folder)


def sweep(folder: Path, best: float, seed: int = 0, norm: str = "cosine") -> None:
    for rate in RATES:
        write(folder, rate, 10 if rate == best else 20, seed, norm)


def choose(source: str, norm: str, folder: Path | None = None) -> Choice:
    name, _, scale = source.partition("/")
    return Search(experiments.get(name)).choose(scale, norm, folder=folder)


def test_an_unfinished_grid_chooses_nothing(package: Path, tmp_path: Path) -> None:
    """Before, one record of ten was enough to call a rate the fair one."""
    own = tmp_path / "own records"
    sweep(own, 3.0)
    assert choose(SOURCE, "cosine", folder=own).rate == 3.0
    for rate in (0.01, 30.0):
        (own / SOURCE / f"{competitor('cosine', rate)}-seed0.json").unlink()
    with pytest.raises(ValueError, match=r"of the 8 rates with seed 0, 2 have no record") as caught:
        choose(SOURCE, "cosine", folder=own)
    said = str(caught.value)
    assert "(cosine-at-0.01, cosine-at-30)" in said
    assert (
        "`cosnorm run rates_newsgroups --norm cosine-at-0.01,cosine-at-30 --scale short --seeds 0-0 "
        f"--records '{own}'`" in said
    )


def test_an_interrupted_search_is_not_taken_for_a_complete_one(tmp_path: Path) -> None:
    own = tmp_path / "records"
    shutil.copytree(record.PACKAGE_RECORDS / "rates_cifar10", own / "rates_cifar10")
    packed = own / "rates_cifar10" / "smoke.json"
    left = [r for r in json.loads(packed.read_text()) if not r["technique"].startswith("cosine-at")]
    (one,) = (r for r in json.loads(packed.read_text()) if r["technique"] == "cosine-at-0.1")
    packed.write_text(json.dumps([*left, one]))
    mine = choose("rates_cifar10/smoke", "cosine", folder=own)
    assert (mine.rate, mine.where) == (3.0, "the package's records"), "not 0.1, and not from the rest"
    shutil.copytree(record.PACKAGE_RECORDS / "rates_cifar10", own / "rates_cifar10", dirs_exist_ok=True)
    mine = choose("rates_cifar10/smoke", "cosine", folder=own)
    assert (mine.rate, mine.where) == (3.0, f"the records in {own}")
    words = ["run", "fair_cifar10", "--norm", "cosine", "--scale", "paper", "--seeds", "1"]
    done = CliRunner().invoke(app, [*words, "--records", str(own)])
    assert done.exit_code == 1
    assert "site-packages" not in done.stderr
    assert str(record.PACKAGE_RECORDS) not in done.stderr
    assert f"--records {own}`" in done.stderr
    assert "cosine-at-0.001, cosine-at-0.003" in done.stderr


def test_ones_own_records_come_first_and_the_packages_then(package: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    sweep(package, 0.3)
    assert choose(SOURCE, "cosine", folder=own).rate == 0.3
    sweep(own, 10.0)
    assert choose(SOURCE, "cosine", folder=own).rate == 10.0
    assert choose(SOURCE, "cosine").rate == 0.3
    compared = experiments.get("fair_newsgroups")
    assert compared.replica("cosine", "short", 0, records=own).learning_rate == 10.0
    assert experiments.plan("fair_newsgroups", "cosine", "short", 1, "cpu", own).replica("cosine", 0) == (
        compared.replica("cosine", "short", 0, records=own)
    )


def test_only_seeds_that_every_rate_has_count(package: Path) -> None:
    sweep(package, 1.0)
    for rate in RATES[:-1]:
        write(package, rate, 1 if rate == 0.1 else 50, seed=1)
    assert choose(SOURCE, "cosine").seeds == (0,)
    assert choose(SOURCE, "cosine").rate == 1.0
    write(package, RATES[-1], 50, seed=1)
    assert choose(SOURCE, "cosine").seeds == (0, 1)
    assert choose(SOURCE, "cosine").rate == 0.1, "10.5 errors on average, as opposed to 30 at rate 1"


def test_a_run_that_diverged_is_a_record_and_never_the_best(package: Path) -> None:
    sweep(package, 1.0)
    write(package, 30.0, None)
    assert choose(SOURCE, "cosine").rate == 1.0
    for rate in RATES:
        write(package, rate, None)
    with pytest.raises(ValueError, match="'cosine' diverged at every rate of rates_newsgroups/short"):
        choose(SOURCE, "cosine")


def test_a_record_of_other_settings_is_none_of_the_grid(package: Path) -> None:
    sweep(package, 1.0)
    place = Place(*SOURCE.split("/"), "cosine-at-3")
    record.write(record_of(place, 0, initial_std=0.5), package)
    with pytest.raises(ValueError, match=r"1 have no record \(cosine-at-3\)"):
        choose(SOURCE, "cosine")


def test_no_technique_is_searched_further_than_the_others(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extended(monkeypatch)
    sweep(package, 1.0)
    write(package, 100.0, 1)
    write(package, 300.0, 1)
    assert (choose(SOURCE, "cosine").rate, choose(SOURCE, "cosine").rates) == (1.0, 8)


def test_the_rate_of_scale_and_shift_is_chosen_with_it(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extended(monkeypatch)
    sweep(package, 1.0, norm="layer")
    assert choose(SOURCE, "layer").gain is None
    for gain in (0.1, 10.0):
        place = Place(*SOURCE.split("/"), f"layer-at-1-gain-{gain:g}")
        assert choose(SOURCE, "layer").gain is None, "a part of the factors does not count"
        record.write(record_of(place, 0, [3 if gain == 0.1 else 30] * 4), package)
    found = choose(SOURCE, "layer")
    assert (found.rate, found.gain) == (1.0, 0.1)
    replica = experiments.get("fair_newsgroups").replica("layer", "short", 0)
    assert (replica.learning_rate, replica.gain_rate) == (1.0, 0.1)
    assert found.words == "1 (scale and shift: 0.1 times)"


def extended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the sweep two more rates for cosine, and two factors for layer norm."""
    swept, compared = fair.RATES_NEWSGROUPS, fair.FAIR_NEWSGROUPS
    more = {competitor("cosine", rate): Technique(rate, "ours", norm="cosine") for rate in (100.0, 300.0)}
    gains = {
        f"layer-at-1-gain-{gain:g}": Technique(1.0, "ours", norm="layer", settings={"gain_rate": gain})
        for gain in (0.1, 10.0)
    }
    larger = dataclasses.replace(swept, techniques={**swept.techniques, **more, **gains})
    monkeypatch.setattr(fair, "RATES_NEWSGROUPS", larger)
    monkeypatch.setattr(fair, "FAIR_NEWSGROUPS", dataclasses.replace(compared, search=Search(larger)))
    sharing._known.cache_clear()


@pytest.fixture(autouse=True)
def _forget() -> object:
    """What was made of an extended sweep is forgotten after a test."""
    yield
    sharing._known.cache_clear()


def test_list_and_report_say_where_rates_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = CliRunner().invoke(app, ["list", "fair_newsgroups"]).output
    packaged = "best of 8 in rates_newsgroups/smoke with 1 seed, by the package's records"
    assert f"Learning rates at scale smoke: {packaged}" in text
    assert (
        "Learning rates at scale paper: not chosen yet, for rates_newsgroups/paper is not complete." in text
    )
    text = CliRunner().invoke(app, ["report", "fair_newsgroups", "--scale", "smoke"]).output
    assert f"Learning rates: {packaged}" in text
    own = tmp_path / "cosnorm-records"
    shutil.copytree(record.PACKAGE_RECORDS / "rates_newsgroups", own / "rates_newsgroups")
    text = CliRunner().invoke(app, ["list", "fair_newsgroups"]).output
    assert "by the records in cosnorm-records" in text
