"""No grad, inference mode, training or not, alone or in a batch: the same numbers."""

from __future__ import annotations

import pytest
import torch

from .cases import Case, Law, cases

FLOAT64 = torch.float64


@pytest.mark.parametrize("case", cases())
def test_no_grad_and_inference_mode(case: Case) -> None:
    x, w = case.draw(requires_grad=True)
    expected = case.function(x, w)
    assert expected.requires_grad
    with torch.no_grad():
        quiet = case.function(x, w)
    with torch.inference_mode():
        inferred = case.function(x, w)
        fresh = case.function(x * 1, w * 1)
    assert not quiet.requires_grad
    assert inferred.is_inference()
    for output in (quiet, inferred, fresh):
        assert torch.equal(output, expected)


@pytest.mark.parametrize("case", cases())
def test_no_gradient_is_asked_where_none_is_needed(case: Case) -> None:
    x, w = case.draw()
    assert not case.function(x, w).requires_grad


@pytest.mark.parametrize("case", cases(Law.PURE))
def test_training_is_inference(case: Case) -> None:
    module = case.build(dtype=FLOAT64)
    x, _ = case.draw()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    trained = module.train()(x)
    assert torch.equal(module.eval()(x), trained)
    assert torch.equal(module.train()(x), trained)
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("dtype", "factor"), [(torch.float32, 8), (FLOAT64, 8), (torch.bfloat16, 2)], ids=str
)
@pytest.mark.parametrize("case", cases(Law.PER_EXAMPLE))
def test_an_example_alone_is_the_example_in_a_batch(case: Case, dtype: torch.dtype, factor: float) -> None:
    x, w = case.draw(dtype=dtype)
    together = case.function(x, w)
    tolerance = case.tolerance(dtype, together, factor)
    for number in range(len(x)):
        alone = case.function(x[number : number + 1], w)
        torch.testing.assert_close(alone[0], together[number], rtol=0, atol=tolerance)


@pytest.mark.parametrize("case", cases(Law.PER_EXAMPLE))
def test_what_stands_beside_an_example_does_not_matter(case: Case) -> None:
    """Neighbours enormous, tiny, zero or not a number: this example keeps its numbers and its gradient."""
    x, w = case.draw(dtype=torch.float32)

    def outcome(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        batch = batch.clone().requires_grad_()
        output = case.function(batch, w)
        return output[0].detach(), torch.autograd.grad(output[0].exp().sum(), batch)[0][0]

    expected = outcome(x)
    for neighbour in (1e15, 1e-15, 0.0, torch.nan, torch.inf):
        beside = x.clone()
        beside[1:] = torch.sign(beside[1:]) * neighbour
        output, slope = outcome(beside)
        case.alike(output, expected[0], 1e-6)
        case.alike(slope, expected[1], 1e-5)


@pytest.mark.parametrize("case", cases())
def test_not_a_number_is_not_hidden(case: Case) -> None:
    """A broken input must show, not turn into a plausible 0."""
    x, w = case.draw()
    x[0] = torch.nan
    output = case.function(x, w)
    assert output[0].isnan().all()


@pytest.mark.parametrize("case", cases(Law.PER_EXAMPLE))
def test_permuting_the_batch_permutes_the_output(case: Case) -> None:
    x, w = case.draw()
    order = torch.arange(len(x)).flip(0)
    case.alike(case.function(x[order], w), case.function(x, w)[order])


@pytest.mark.parametrize("case", cases(Law.COSINE))
def test_permuting_units_permutes_outputs(case: Case) -> None:
    """Within a group, for grouped convolutions."""
    x, w = case.draw()
    order = torch.arange(len(w)).view(case.groups, -1).flip(1).flatten()
    axis = -1 if case.dims == 0 else 1
    torch.testing.assert_close(
        case.function(x, w[order]), case.function(x, w).index_select(axis, order), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("case", cases(Law.COSINE, dims=(0,)))
def test_permuting_components_of_both_changes_nothing(case: Case) -> None:
    x, w = case.draw()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(
        case.function(x[:, order], w[:, order]), case.function(x, w), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("case", cases(Law.COSINE, without=(Law.APPENDED,)))
def test_the_sign_of_a_vector_is_the_sign_of_its_cosines(case: Case) -> None:
    x, w = case.draw()
    assert torch.equal(case.function(-x, w), -case.function(x, w))
    assert torch.equal(case.function(x, -w), -case.function(x, w))


@pytest.mark.parametrize("case", cases(Law.COSINE, dims=(0,)))
def test_the_two_arguments_of_the_linear_layer_are_symmetric(case: Case) -> None:
    x, w = case.draw()
    torch.testing.assert_close(case.function(x, w), case.function(w, x).mT, rtol=0, atol=1e-15)


@pytest.mark.parametrize("case", cases())
def test_the_same_call_gives_the_same_bits(case: Case) -> None:
    x, w = case.draw(dtype=torch.float32, requires_grad=True)
    runs = [torch.autograd.grad(case.function(x, w).exp().sum(), (x, w)) for _ in range(2)]
    assert torch.equal(case.function(x, w), case.function(x, w))
    assert all(map(torch.equal, *runs))
