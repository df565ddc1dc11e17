"""Swapping a model's layers: what changes, what stays and why, and that nothing but the cosine is new."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from cosnorm import CosineConv1d, CosineConv2d, CosineConv3d, CosineLinear
from cosnorm.convert import convert, planned_changes


def small() -> nn.Sequential:
    torch.manual_seed(0)
    first = nn.Conv2d(2, 6, 3, stride=2, padding=1, groups=2, padding_mode="circular")
    return nn.Sequential(
        nn.Sequential(first, nn.ReLU()), nn.Flatten(), nn.Linear(54, 7), nn.ReLU(), nn.Linear(7, 3)
    )


def by_hand(model: nn.Sequential, x: Tensor) -> Tensor:
    """The converted model in float64, from the weights alone: patches and cosines written out."""
    w0, w2, w4 = (model.get_parameter(f"{name}.weight").double() for name in ("0.0", "2", "4"))
    padded = F.pad(x.double(), (1, 1, 1, 1), mode="circular")
    groups = []
    for k in range(2):
        patches = F.unfold(padded[:, k : k + 1], 3, stride=2)
        groups.append(F.normalize(w0[3 * k : 3 * k + 3].flatten(1), dim=1) @ F.normalize(patches, dim=1))
    hidden = torch.cat(groups, 1).relu().flatten(1)
    hidden = (F.normalize(hidden, dim=1) @ F.normalize(w2, dim=1).T).relu()
    return hidden @ w4.T + model.get_parameter("4.bias").double()


def kinds(model: nn.Module) -> list[str]:
    return [type(model.get_submodule(name)).__name__ for name in ("0.0", "2", "4")]


def test_values_are_those_of_cosines_and_the_output_layer_stays() -> None:
    model = small()
    plain = copy.deepcopy(model)
    assert convert(model) is model
    assert kinds(model) == ["CosineConv2d", "CosineLinear", "Linear"]
    x = torch.randn(4, 2, 6, 6)
    torch.testing.assert_close(model(x).double(), by_hand(plain, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "kind", "sizes", "shape"),
    [
        (nn.Linear(5, 4), CosineLinear, {"in_features": 5, "out_features": 4}, (3, 5)),
        (nn.Conv1d(2, 4, 3, dilation=2), CosineConv1d, {"dilation": 2}, (3, 2, 9)),
        (nn.Conv2d(2, 4, 3, padding="same", bias=False), CosineConv2d, {"padding": "same"}, (2, 2, 5, 6)),
        (nn.Conv3d(2, 4, 3, stride=2), CosineConv3d, {"stride": 2}, (2, 2, 5, 5, 5)),
    ],
)
def test_a_single_layer_gives_the_new_one(
    layer: nn.Module, kind: type, sizes: dict[str, object], shape: tuple[int, ...]
) -> None:
    made = convert(layer, "centered", constant=0.1, scale=2.0)
    assert type(made) is kind
    assert made.weight is layer.weight
    if kind is not CosineLinear:
        sizes = {"in_channels": 2, "out_channels": 4, "kernel_size": 3, **sizes}
    expected = kind(**sizes, centered=True, constant=0.1, scale=2.0)
    expected.load_state_dict(made.state_dict())
    x = torch.randn(shape)
    assert torch.equal(made(x), expected(x))


def test_nothing_is_drawn_and_mode_dtype_and_gradient_flag_stay() -> None:
    model = small().double().eval()
    model.get_parameter("2.weight").requires_grad_(False)
    before = torch.get_rng_state()
    parameters = {id(p) for p in model.parameters()}
    convert(model, scale="learnable")
    assert torch.equal(before, torch.get_rng_state())
    layer = model[2]
    assert not layer.training
    assert not layer.weight.requires_grad
    assert layer.scale.dtype == torch.float64
    assert layer.scale.item() == pytest.approx(54**0.5)
    assert len({id(p) for p in model.parameters()} & parameters) == 4, "three weights and the output's bias"
    assert model(torch.randn(1, 2, 6, 6, dtype=torch.float64)).dtype == torch.float64


def test_a_shared_layer_is_swapped_once_and_a_tied_weight_stays_tied() -> None:
    shared, words, tied = nn.Linear(4, 4), nn.Embedding(4, 4), nn.Linear(4, 4, bias=False)
    tied.weight = words.weight
    parts = {"a": shared, "b": nn.Sequential(shared, shared), "words": words, "tied": tied}
    model = nn.ModuleDict({**parts, "end": nn.Linear(4, 2)})
    assert [change.name for change in planned_changes(model)] == ["a, b.0, b.1", "tied", "end"]
    convert(model)
    assert model["a"] is model.get_submodule("b.0") is model.get_submodule("b.1")
    assert type(model["a"]) is CosineLinear
    assert model["tied"].weight is words.weight
    model["tied"](torch.randn(3, 4)).sum().backward()
    assert words.weight.grad is not None


def test_a_layer_under_two_names_of_one_parent() -> None:
    model = nn.Module()
    model.first = model.second = nn.Linear(3, 3)
    convert(model, output=True)
    assert model.first is model.second
    assert type(model.second) is CosineLinear


def test_the_dry_run_prints_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    model = small()
    assert convert(model, dry_run=True) is model
    assert kinds(model) == ["Conv2d", "Linear", "Linear"]
    printed = capsys.readouterr().out.strip()
    assert printed == str(planned_changes(model))
    assert printed.splitlines()[0].startswith("0.0")
    assert "its bias is dropped" in printed
    assert printed.endswith("2 of 3 layers change")


def test_filters() -> None:
    def changed(**filters: object) -> list[str]:
        planned = planned_changes(small(), **filters)  # pyright: ignore[reportArgumentType]
        return [change.name for change in planned if change.after]

    assert changed() == ["0.0", "2"]
    assert changed(output=True) == ["0.0", "2", "4"]
    assert changed(only="4") == ["4"]
    assert changed(only=["0.*", "2"]) == ["0.0", "2"]
    assert changed(skip="0.*") == ["2"]
    assert changed(only=["0.0", "2"], skip=["2"]) == ["0.0"]
    assert changed(only=lambda name, layer: name != "2" and isinstance(layer, nn.Linear)) == ["4"]
    with pytest.raises(ValueError, match=r"only='3' matches no .* there are: 0\.0, 2, 4"):
        changed(only="3")
    with pytest.raises(ValueError, match=r"skip='head' matches no"):
        changed(skip=["0.0", "head"])


class Doubled(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def hooked() -> nn.Module:
    layer = nn.Linear(3, 3)
    layer.register_forward_hook(lambda *_: None)
    return layer


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Doubled(3, 3), "subclass"),
        (lambda: nn.LazyLinear(3), "lazy"),
        (lambda: parametrizations.weight_norm(nn.Linear(3, 3)), "parametrized"),
        (lambda: nn.ConvTranspose1d(3, 3, 1), "transposed"),
        (lambda: CosineLinear(3, 3), "cosine"),
        (hooked, "hooks"),
    ],
)
def test_what_cannot_be_swapped_stays_and_says_why(make: Callable[[], nn.Module], reason: str) -> None:
    odd = make()
    model = nn.Sequential(odd, nn.Linear(3, 2))
    first, second = planned_changes(model, output=True)
    assert first.after is None
    assert reason in first.note
    assert second.after == "CosineLinear"
    convert(model, output=True)
    assert model[0] is odd


@pytest.mark.filterwarnings("ignore:.*nested tensors.*:UserWarning")
@pytest.mark.parametrize("norm_first", [False, True])
def test_attention_keeps_its_projections_and_evaluation_agrees_with_training(norm_first: bool) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=norm_first)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=not norm_first)
    plain = copy.deepcopy(model)
    convert(model, output=True)
    for part, old in zip(model.layers, plain.layers, strict=True):
        assert type(part.linear1) is type(part.linear2) is CosineLinear
        assert type(part.self_attn.out_proj) is type(old.self_attn.out_proj)
    x = torch.randn(3, 5, 8)
    mask = torch.zeros(3, 5, dtype=torch.bool)
    mask[0, 3:] = True
    trained = model(x, src_key_padding_mask=mask).detach()
    model.eval()
    with torch.no_grad():  # where torch would take its fused path
        evaluated = model(x, src_key_padding_mask=mask)
        assert not torch.allclose(plain.eval()(x), model(x))
    torch.testing.assert_close(evaluated[~mask], trained[~mask], rtol=1e-5, atol=1e-6)


def test_a_converted_model_trains_copies_and_pickles() -> None:
    model = convert(small(), constant=1e-4)
    x, y = torch.randn(32, 2, 6, 6), torch.randint(0, 3, (32,))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    losses = []
    for _ in range(60):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    again = convert(small(), constant=1e-4)
    again.load_state_dict(model.state_dict())
    for other in (again, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(x), model(x))


def test_an_optimizer_made_before_still_moves_the_weights() -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    convert(model)
    weight = model.get_parameter("2.weight")
    before = weight.detach().clone()
    model(torch.randn(4, 2, 6, 6)).sum().backward()
    optimizer.step()
    assert not torch.equal(before, weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"technique": "batch"}, "choose cosine or centered"),
        ({"scale": "big"}, "scale must be"),
        ({"constant": float("nan")}, "constant"),
    ],
)
def test_bad_options_leave_the_model_as_it_is(arguments: dict[str, object], message: str) -> None:
    model = small()
    with pytest.raises(ValueError, match=message):
        convert(model, **arguments)  # pyright: ignore[reportArgumentType]
    assert kinds(model) == ["Conv2d", "Linear", "Linear"]


def test_a_model_is_asked_for() -> None:
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module, got list"):
        convert([nn.Linear(2, 2)])  # pyright: ignore[reportArgumentType]


def test_a_model_without_such_layers_is_left_alone() -> None:
    model = nn.Sequential(nn.ReLU())
    assert convert(model) is model
    assert str(planned_changes(model)) == "0 of 0 layers change"
