"""What a layer keeps from one batch to the next: moved by training alone, used by evaluation alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from .cases import Case, Law, cases, numbers

FLOAT64 = torch.float64


def built(case: Case, dtype: torch.dtype = FLOAT64) -> tuple[nn.Module, Tensor, Tensor]:
    """A module whose weight is the drawn one, and the draw."""
    module = case.build(dtype=dtype)
    x, w = case.draw(dtype=dtype)
    with torch.no_grad():
        case.weight(module).copy_(w)
    return module, x, w


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def unchanged(module: nn.Module, before: dict[str, Tensor]) -> dict[str, bool]:
    return {name: torch.equal(value, before[name]) for name, value in module.state_dict().items()}


@pytest.mark.parametrize("case", cases(Law.STATEFUL))
def test_evaluation_uses_what_training_saw(case: Case) -> None:
    """The oracle's estimates after one batch, on other inputs; in float32 as well."""
    for dtype in (torch.float32, FLOAT64):
        module, x, w = built(case, dtype)
        module(x)
        other, _ = case.draw(1, dtype)
        output = module.eval()(other)
        assert case.estimates is not None
        expected = torch.from_numpy(case.estimates(numbers(other), numbers(w), numbers(x)))
        tolerance = case.tolerance(dtype, expected)
        torch.testing.assert_close(output.double(), expected, rtol=0, atol=tolerance)
        before, _, _ = built(case, dtype)
        assert not torch.allclose(before.eval()(other).double(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("case", cases(Law.STATEFUL))
def test_training_moves_the_estimates_and_nothing_else(case: Case) -> None:
    module, x, _ = built(case)
    before = snapshot(module)
    learned = {name for name, _ in module.named_parameters()}
    module(x)
    after = unchanged(module, before)
    assert all(after[name] for name in learned)
    assert not all(after[name] for name in set(after) - learned)


@pytest.mark.parametrize("case", cases(Law.STATEFUL))
def test_evaluation_moves_nothing_and_takes_examples_one_by_one(case: Case) -> None:
    module, x, _ = built(case)
    module(x)
    before = snapshot(module)
    x.requires_grad_()
    output = module.eval()(x)
    (slope,) = torch.autograd.grad(output.exp().sum(), x)
    assert all(unchanged(module, before).values())
    for number in range(len(x)):
        alone = x[number : number + 1].detach().requires_grad_()
        answer = module(alone)
        case.alike(answer[0], output[number].detach())
        case.alike(torch.autograd.grad(answer.exp().sum(), alone)[0][0], slope[number], 1e-13)


@pytest.mark.parametrize("case", cases(Law.STATEFUL))
def test_evaluation_has_the_ordinary_gradient(case: Case) -> None:
    """The estimates are constants there, of online normalization as well."""
    module, x, _ = built(case)
    module(x)
    module.eval()
    assert torch.autograd.gradcheck(module, (x.requires_grad_(),), fast_mode=True)


@pytest.mark.parametrize("case", cases(Law.STATEFUL))
def test_training_without_gradients_moves_the_same(case: Case) -> None:
    """As it is done to renew the estimates after the weights were averaged."""
    one, x, _ = built(case)
    two, _, _ = built(case)
    one(x)
    with torch.no_grad():
        two(x)
    assert all(unchanged(two, snapshot(one)).values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", cases(Law.STATEFUL))
def test_estimates_still_move_in_half_precision(case: Case, dtype: torch.dtype) -> None:
    module = case.module().to(dtype)
    x, _ = case.draw(dtype=dtype)
    before = snapshot(module)
    module(x)
    moved = [name for name, same in unchanged(module, before).items() if not same]
    assert any(name.rpartition(".")[2] in ("mean", "running_mean") for name in moved)
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())


@pytest.mark.parametrize("case", cases(Law.STATEFUL, Law.EMPTY))
def test_an_empty_batch_moves_no_estimate(case: Case) -> None:
    module, x, _ = built(case)
    before = snapshot(module)
    module(x[:0].requires_grad_()).sum().backward()
    same = unchanged(module, before)
    assert all(same[name] for name in same if not name.endswith("num_batches_tracked"))


@pytest.mark.parametrize("case", cases(Law.STATEFUL))
def test_a_copy_goes_on_from_where_the_layer_was(case: Case) -> None:
    """Interrupted after a step and taken up from the state: the second step gives the same bits."""
    module, x, _ = built(case)
    second, _ = case.draw(1)
    module(x).exp().sum().backward()
    resumed = case.module(dtype=FLOAT64)
    resumed.load_state_dict(snapshot(module))
    outcomes = []
    for layer in (module, resumed):
        inputs = second.clone().requires_grad_()
        output = layer(inputs)
        outcomes.append((output, torch.autograd.grad(output.exp().sum(), inputs)[0]))
    assert all(map(torch.equal, *outcomes))
    assert all(unchanged(resumed, snapshot(module)).values())


@pytest.mark.parametrize("case", cases(without=(Law.STATEFUL,)))
def test_others_have_nothing_to_move(case: Case) -> None:
    module, x, _ = built(case)
    before = snapshot(module)
    module(x).exp().sum().backward()
    assert all(unchanged(module, before).values())
