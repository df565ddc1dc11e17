"""A warning is an error, except where a dependency warns about itself, which depends on its version."""

from __future__ import annotations

import warnings

import pytest

OLD_FASHIONED = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)


def warn(category: type[Warning], module: str) -> None:
    warnings.warn_explicit("this goes away", category, f"{module}.py", 1, module=module)


@pytest.mark.parametrize("category", OLD_FASHIONED)
def test_a_dependency_may_use_what_goes_away(category: type[Warning]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warn(category, "torch._decomp.decompositions_for_jvp")
    assert [warning.category for warning in caught] == [category]


@pytest.mark.parametrize("category", [*OLD_FASHIONED, UserWarning, RuntimeWarning])
@pytest.mark.parametrize(
    "module", ["cosnorm.layers", "tests.contract.cases", "tools.chapters", "test_values"]
)
def test_our_own_code_may_not(category: type[Warning], module: str) -> None:
    with pytest.raises(category, match="goes away"):
        warn(category, module)


@pytest.mark.parametrize("category", [UserWarning, RuntimeWarning])
def test_other_warnings_are_errors_wherever_they_arise(category: type[Warning]) -> None:
    with pytest.raises(category, match="goes away"):
        warn(category, "torch.nn.functional")
