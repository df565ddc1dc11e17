"""Made-up records for every figure, and every figure drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from synthetic import make_record

from cosnorm import evidence, plots
from cosnorm.evidence import Interval, Receipt
from cosnorm.record import Record
from cosnorm.register import Comparison, Gap, Judgement, OpenPoint, Reading, Score

CURVES = {"none": (400, 250, 205, 200), "cosine": (300, 180, 140, 139), "batch": (250, 160, 150, 230)}


def runs(
    curves: dict[str, Sequence[int]] = CURVES, step: int = 7, seeds: int = 3, **more: Any
) -> list[Record]:
    """Runs whose test errors grow by ``step`` from seed to seed."""
    return [
        make_record(technique, seed, [errors + step * seed for errors in curve], **more)
        for technique, curve in curves.items()
        for seed in range(seeds)
    ]


def with_curve(record: Record, **curves: Any) -> Record:
    return replace(record, curves={**record.curves, **curves})


def timed(technique: str, seed: int, curve: list[int], seconds: float) -> Record:
    run = make_record(technique, seed, curve, epochs=2)
    return replace(run, cost={**run.cost, "seconds": seconds})


TIMED = [
    timed("cosine", 0, [300, 150], 30.0),
    timed("cosine", 1, [320, 170], 20.0),
    timed("none", 0, [400, 200], 10.0),
]


def deep(layers: int, seed: int, errors: list[int], **more: Any) -> Record:
    sizes = [784, *[5] * (layers - 1), 10]
    return make_record(f"cosine-{layers}-layers", seed, errors, sizes=sizes, **more)


DEEP = [
    deep(layers, seed, [500, 200 - 10 * layers + seed, 190 - 10 * layers + 3 * seed])
    for layers in (3, 2)
    for seed in (0, 1, 2)
]


def scaled(technique: str, seed: int, last: list[int]) -> Record:
    return with_curve(make_record(technique, seed, [300, 200]), test_error_scaled=[[999] * 5, last])


SCALED = [
    scaled("none", 0, [900, 400, 200, 300, 800]),
    scaled("none", 1, [920, 420, 220, 320, 820]),
    scaled("none-scaled", 0, [250, 240, 230, 240, 250]),
]


def entering(technique: str, seed: int = 0, size: float = 1.0) -> Record:
    """Three epochs of two units; unit u after epoch t has the median ``size * (t + 10 u)``."""
    curve = [[[size * (t + 10 * u + k) for k in (-1, 0, 2)] for u in (0, 1)] for t in range(3)]
    return with_curve(make_record(technique, seed, [30, 20, 10]), preactivation=curve)


ENTERING = [entering("none", 1, 5.0), entering("none"), entering("cosine", 0, 0.01)]

#: By technique and rate the last errors of two seeds; None diverged.
SWEPT = {
    "none": {0.1: (300, 320), 1.0: (250, None), 10.0: (None, None)},
    "cosine": {0.1: (900, 940), 1.0: (200, 220), 10.0: (200, 221)},
}


def sweep() -> list[Record]:
    made = []
    for norm, rates in SWEPT.items():
        for rate, ends in rates.items():
            for seed, end in enumerate(ends):
                curve = [999] if end is None else [999, end]
                run = make_record(norm, seed, curve, epochs=2, tail=1, learning_rate=rate, held_out=1000)
                made.append(replace(run, experiment="rates", technique=f"{norm}-at-{rate:g}"))
    return made[::-1]  # in no order


def receipt(score: int) -> Receipt:
    stored = {0: 140.0, 1: 141.0, 2: 141.0, 3: 143.0}
    run = make_record("cosine", 9, [score, score])
    return Receipt(run, run.final["test_error_mean"], stored, evidence.prediction(list(stored.values())), ())


_NAMES = {"cosine": "cosine", "none": "none"}
POINT = OpenPoint(
    key="a-point",
    question="?",
    section="5",
    paper="",
    readings=(Reading("ours", "mnist", _NAMES), Reading("other", "mnist", _NAMES, share=0.5)),
    reason="",
)
ABOVE, BELOW = (Gap(sign * 50.0, Interval(sign * 50 - 9, sign * 50 + 9), 2, sign) for sign in (1, -1))


def judged(other: Gap = ABOVE, lost: bool = False) -> Judgement:
    scores = (
        Score("ours", "cosine", {0: 100.0, 1: 110.0}, 0),
        Score("ours", "none", {0: 150.0, 1: 160.0}, 0),
        Score("other", "cosine", {0: 300.0, 1: 320.0}, 0),
        Score("other", "none", {} if lost else {0: 200.0, 1: 220.0}, 2 if lost else 0),
    )
    return Judgement(
        point=POINT,
        verdict="flips",
        scale="short",
        epochs=4,
        scores=scores,
        comparisons=(Comparison("none", "other", BELOW, other),),
        moves=(),
        total=10_000,
        classes=10,
        fact="",
        devices=(),
        patterns=(),
        commands=(),
    )


def doubled(record: Record) -> list[float]:
    return [2.0 * error for error in record.curves["test_error"]]


def samples() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return {name: {"start": rng.normal(0, 1, 80), "end": rng.normal(2, 3, 80)} for name in ("none", "cosine")}


#: The second round was slowed down for all alike.
ROUNDS = {"plain": [1.0, 10.0, 2.0], "cosine": [1.2, 13.0, 2.2]}
BEFORE = {"none": [230.0, 240.0], "cosine": [160.0, 170.0], "layer": [1.0]}
AFTER = {"cosine": [180.0, 182.0], "none": [200.0, 190.0], "batch": [2.0]}
GRAY = np.linspace(0, 1, 12).reshape(3, 4)
COLOR = np.stack([GRAY, 2 * GRAY - 0.5, 1 - GRAY], axis=2)
#: What is drawn from records of one experiment, by name: the function and its records.
OF_RECORDS: dict[str, tuple[Callable[..., Figure], list[Record]]] = {
    "test_error_curves": (partial(plots.test_error_curves, paper={"none": 196.6}), runs()),
    "overfitting": (partial(plots.overfitting, paper={"batch": 1.08}), runs()),
    "measured_curves": (partial(plots.measured_curves, measure=doubled, name="m"), runs()),
    "scaled_inputs": (plots.scaled_inputs, SCALED),
    "error_against_time": (plots.error_against_time, TIMED),
    "seed_scores": (partial(plots.seed_scores, paper={"none": 196.0}), runs()),
    "lowest_by_depth": (partial(plots.lowest_by_depth, paper={2: 155, 3: 143}), DEEP),
    "curves_by_depth": (partial(plots.curves_by_depth, paper={2: 155}), DEEP),
    "preactivation_percentiles": (plots.preactivation_percentiles, ENTERING),
    "differences": (plots.differences, runs()),
    "error_against_rate": (plots.error_against_rate, sweep()),
    "steps_to_reach": (partial(plots.steps_to_reach, technique="cosine", baseline="none"), runs()),
    "epochs_to_errors": (partial(plots.epochs_to_errors, levels=[300, 219]), runs()),
}
#: Every figure, by name: a function of its title.
FIGURES: dict[str, Callable[..., Figure]] = {
    **{name: partial(draw, records) for name, (draw, records) in OF_RECORDS.items()},
    "noise_curves": partial(
        plots.noise_curves,
        [replace(r, experiment="noise", technique=f"{r.technique}-dropout") for r in runs()],
        runs(),
    ),
    "place_in_distribution": partial(plots.place_in_distribution, receipt(142)),
    "before_and_after": partial(plots.before_and_after, BEFORE, AFTER, ("then", "now"), "errors"),
    "relative_times": partial(plots.relative_times, {"a layer": ROUNDS}),
    "pictures": partial(plots.pictures, {"gray": [GRAY, 1 - GRAY], "color": [COLOR, COLOR]}),
    "ridgelines": partial(plots.ridgelines, samples(), "pre-activation"),
    "readings": partial(plots.readings, judged()),
    "new_panels": lambda title: plots.new_panels(title, 3)[0],
}
