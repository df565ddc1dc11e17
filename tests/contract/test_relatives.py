"""Every technique is in the registry, and what it learns besides its weight has the oracle's gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from cosnorm.techniques import TECHNIQUES, Slot

from .cases import REGISTRY, Case, cases, numbers
from .relatives import ALSO, HIDDEN

#: Cosine layers, which are registered with every option and geometry.
COSINES = {"cosine": "plain", "centered": "centered"}


def test_every_technique_has_a_dense_and_a_convolutional_case() -> None:
    assert set(TECHNIQUES) == set(HIDDEN) | set(ALSO) | set(COSINES)
    for technique, recipe in TECHNIQUES.items():
        key = COSINES.get(technique) or ALSO.get(technique, technique)
        assert f"conv2d-{key}" in REGISTRY
        assert (f"linear-{key}" in REGISTRY) is not recipe.needs_positions


@pytest.mark.parametrize("slot", [Slot(7, 6), Slot(2, 6, 3)], ids=["linear", "conv2d"])
@pytest.mark.parametrize("technique", ALSO)
def test_rules_and_early_batch_norm_have_the_layers_of_another_technique(technique: str, slot: Slot) -> None:
    """What a rule does after an update is tested in tests/relatives; its layers are these."""
    parts, others = (nn.Sequential(*TECHNIQUES[key].build(slot)) for key in (technique, ALSO[technique]))
    assert repr(parts) == repr(others)


def learned(case: Case, module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of a module but its weight."""
    return {name: value for name, value in module.named_parameters() if name != case.weight_name}


LEARNERS = [
    each for each in cases() if each.values[0].state and learned(each.values[0], each.values[0].module())
]


@pytest.mark.parametrize(
    ("dtype", "factor"), [(torch.float32, 32), (torch.float64, 32), (torch.bfloat16, 8)], ids=str
)
@pytest.mark.parametrize("case", LEARNERS)
def test_gains_and_shifts_have_the_oracles_gradient(case: Case, dtype: torch.dtype, factor: float) -> None:
    x, w = case.draw(dtype=dtype)
    module = case.build(dtype=dtype)
    others = learned(case, module)
    output = functional_call(module, {case.weight_name: w}, (x,))
    g = torch.randn(output.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(dtype)
    found = dict(zip(others, torch.autograd.grad(output, tuple(others.values()), g), strict=True))
    assert case.state_gradients is not None
    expected = case.state_gradients(numbers(x), numbers(w), numbers(g))
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        atol = factor * torch.finfo(dtype).eps * max(1.0, np.abs(gradient).max())
        np.testing.assert_allclose(numbers(found[name]), gradient, rtol=0, atol=atol, err_msg=name)
