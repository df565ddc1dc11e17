"""The benchmark measures what it says: the right layers, correct ones, in turn, and writes it down."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from cosnorm import CosineConv2d, CosineLinear, benchmarking
from cosnorm.benchmarking import (
    CASES,
    Case,
    Comparison,
    Cost,
    ResidualNetwork,
    Result,
    VisionTransformer,
    convolution,
    linear,
    network,
    with_compiled,
)
from cosnorm.record import RecordError

SMALL = {
    "row": linear("row", "rows", (8,), 12, 6),
    "tokens": linear("tokens", "tokens", (2, 3), 12, 6),
    "image": convolution("image", "images", 2, 3, 4, 6, 3),
}


@pytest.mark.parametrize("case", [*CASES.values(), *SMALL.values()], ids=lambda case: case.key)
def test_contenders_have_one_shape_and_start_with_the_plain_layer(case: Case) -> None:
    assert case.plain in ("nn.Linear", "nn.Conv2d", "as built")
    assert set(case.cosines) <= set(case.contenders)
    assert not set(case.left_out) & set(case.contenders)
    with torch.device("meta"):
        x = torch.empty(2, *case.input[1:])
        shapes = {tuple(make()(x).shape) for make in case.contenders.values()}
    assert len(shapes) == 1


@pytest.mark.parametrize("case", SMALL.values(), ids=lambda case: case.key)
def test_every_contender_that_is_called_a_cosine_is_one(case: Case) -> None:
    torch.manual_seed(0)
    for name in case.cosines:
        layer = case.contenders[name]()
        errors = benchmarking.errors_of(layer, case, "cpu")
        assert errors["float32"] < 1e-6, name
        assert errors["float32"] < errors["float16"] < errors["bfloat16"] < 0.02, name


@pytest.mark.parametrize(
    ("make", "linear_layers", "convolutions"),
    [
        # Two linear layers an encoder layer, its attention's stay; the head stays.
        (lambda: VisionTransformer(32, 8, 16, 2), 4, 1),
        # The stem, and four convolutions a block.
        (lambda: ResidualNetwork(8), 0, 17),
    ],
    ids=["vit", "resnet"],
)
@pytest.mark.parametrize("centered", [False, True])
def test_a_converted_network_computes_cosines_and_trains(
    make, linear_layers: int, convolutions: int, centered: bool
) -> None:
    torch.manual_seed(0)
    case = network("small", "a small network", make, (4, 3, 32, 32))
    model = case.contenders["converted to centered" if centered else "converted to cosine"]()
    made = [layer for layer in model.modules() if isinstance(layer, CosineLinear | CosineConv2d)]
    assert sum(isinstance(layer, CosineLinear) for layer in made) == linear_layers
    assert sum(isinstance(layer, CosineConv2d) for layer in made) == convolutions
    assert all(layer.centered == centered for layer in made)
    seen: list[float] = []
    for layer in made:
        layer.register_forward_hook(lambda _, __, output: seen.append(output.abs().max().item()))
    x, wanted = torch.randn(case.input), torch.arange(4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(40):
        loss = nn.functional.cross_entropy(model(x), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert len(seen) == 40 * len(made)
    assert max(seen) <= 1.0
    assert losses[-1] < 0.5 * losses[0]


def test_compiled_contenders_are_the_cosine_layers_and_the_plain_one() -> None:
    case = with_compiled(SMALL["row"])
    more = set(case.contenders) - set(SMALL["row"].contenders)
    assert more == {f"{name}, compiled" for name in ("nn.Linear", "CosineLinear", "CosineLinear, centered")}
    assert case.plain == "nn.Linear"
    assert isinstance(case.contenders["CosineLinear, compiled"](), torch._dynamo.OptimizedModule)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_timed_in_half_precision(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()

    def note(layer: nn.Module, x: torch.Tensor) -> object:
        seen.update((x.dtype, *(p.dtype for p in layer.parameters())))
        return lambda: None

    monkeypatch.setattr(benchmarking, "pass_of", note)
    benchmarking.compare(SMALL["row"], repeats=2, dtype=dtype)
    assert seen == {benchmarking.DTYPES[dtype]}


def test_a_dtype_that_nobody_times() -> None:
    with pytest.raises(ValueError, match="no dtype 'int8' to time; choose from float32, bfloat16, float16"):
        benchmarking.compare(SMALL["row"], dtype="int8")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("case", SMALL.values(), ids=lambda case: case.key)
def test_on_cuda_every_contender_can_be_captured(case: Case) -> None:
    found = benchmarking.compare(case, repeats=2, device="cuda")
    assert all(min(cost.seconds) > 0 for cost in found.costs.values())


def test_a_wrong_cosine_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(benchmarking.NormalizedLinear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 1.01 * super().forward(input)

    monkeypatch.setattr(benchmarking, "NormalizedLinear", Wrong)
    case = linear("row", "rows", (8,), 12, 6)
    monkeypatch.setattr(benchmarking, "in_turn", lambda *_: pytest.fail("timed"))
    with pytest.raises(RuntimeError, match=r"rows, 8 x 12 -> 6: F.normalize.* is off by"):
        benchmarking.compare(case, repeats=2)


def test_contenders_run_in_turn_and_the_burn_in_does_not_count() -> None:
    order: list[str] = []
    passes = {name: lambda n=name: order.append(n) for name in ("a", "b")}
    seconds = benchmarking.in_turn(passes, repeats=2)
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2}
    runs = [name for k, name in enumerate(order) if k == 0 or order[k - 1] != name]
    assert runs[-2 * (benchmarking.BURN_IN + 2) :] == ["a", "b"] * (benchmarking.BURN_IN + 2)


def test_all_that_is_measured_is_there() -> None:
    found = benchmarking.compare(SMALL["image"], repeats=2)
    assert list(found.costs) == list(SMALL["image"].contenders)
    for name, cost in found.costs.items():
        assert len(cost.seconds) == 2
        assert min(cost.seconds) > 0
        assert cost.peak_bytes > 0
        assert bool(cost.errors) == (name in SMALL["image"].cosines)
    assert found.costs["nn.Conv2d"].saved_bytes == 0
    assert found.costs["unfold + F.normalize"].saved_bytes >= 2 * 9 * 3 * 36 * 4, "the patches"
    text = str(found)
    assert text.splitlines()[0] == "images, 2 x 3 -> 4, 3x3, 6x6"
    assert all(name in text for name in found.costs)


def test_saved_bytes_count_storages_once_and_not_what_is_there_anyway() -> None:
    class Square(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(10))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x * self.weight  # saves both: the input and a parameter
            return y * y  # saves y, twice

    assert benchmarking.saved_bytes(Square(), torch.randn(10, requires_grad=True)) == 40


def test_peak_bytes_are_the_most_at_a_time() -> None:
    def run() -> None:
        for size in (1000, 3000, 2000):
            a = torch.ones(size)
            b = torch.ones(size)
            del a, b

    assert benchmarking.peak_bytes(run, "cpu") == 2 * 3000 * 4


def made() -> Result:
    cost = Cost((1e-3, 2e-3), 100, 200, {})
    slow = Cost((3e-3, 4e-3), 300, 500, {"float32": 1e-7})
    comparison = Comparison("row", "rows", {"plain": cost, "slow": slow}, {"other": "not installed"})
    return Result({"row": comparison}, {"device_name": "here", "threads": 1, "torch": "2"})


def test_ratios_pair_the_rounds() -> None:
    comparison = made().comparisons["row"]
    assert comparison.ratios("slow") == [3.0, 2.0]
    assert comparison.ratios("plain", "slow") == [1 / 3, 0.5]
    assert comparison.costs["slow"].median == 3.5e-3
    assert "2.50" in str(comparison)
    assert "other: left out, not installed" in str(comparison)
    with pytest.raises(KeyError):
        comparison.ratios("nobody")


def test_results_survive_a_file(tmp_path: Path) -> None:
    path = benchmarking.write(made(), tmp_path / "new" / "layers.json")
    assert benchmarking.read(path) == made()
    assert [p.name for p in path.parent.iterdir()] == ["layers.json"]


def test_a_measured_result_survives_a_file(tmp_path: Path) -> None:
    found = benchmarking.compare(SMALL["row"], repeats=2)
    result = Result({"row": found}, {"device_name": "here"})
    assert benchmarking.read(benchmarking.write(result, tmp_path / "r.json")) == result


def test_damage_is_found(tmp_path: Path) -> None:
    path = benchmarking.write(made(), tmp_path / "r.json")
    content = json.loads(path.read_text())
    content["comparisons"][0]["costs"]["slow"]["seconds"][0] = 1e-9
    path.write_text(json.dumps(content))
    for text in (path.read_text(), "", "[]", '{"sha256": "x"}'):
        path.write_text(text)
        with pytest.raises(RecordError, match=r"r\.json is no undamaged benchmark result"):
            benchmarking.read(path)
    with pytest.raises(RecordError, match=r"cosnorm bench --output"):
        benchmarking.read(tmp_path / "absent.json")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match=r"cannot be written.*--output"):
        benchmarking.write(made(), tmp_path / "file" / "r.json")


def test_measuring_names_the_machine_and_reports_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CASES, "row", SMALL["row"])
    seen: list[str] = []
    result = benchmarking.measure(["row"], repeats=2, on_comparison=lambda c: seen.append(c.key))
    assert seen == list(result.comparisons) == ["row"]
    assert result.provenance["threads"] == torch.get_num_threads()
    assert result.provenance["device_name"] in str(result)


def test_bad_requests() -> None:
    with pytest.raises(ValueError, match="no benchmark nothing; choose from small, paper-first"):
        benchmarking.measure(["nothing"])
    with pytest.raises(ValueError, match="at least 2"):
        benchmarking.compare(SMALL["row"], repeats=1)


def test_the_paper_layers_are_the_papers() -> None:
    assert CASES["paper-hidden"].input == (100, 1000)
    assert CASES["paper-conv2"].input == (128, 64, 12, 12)
    assert dataclasses.is_dataclass(CASES["square"])
