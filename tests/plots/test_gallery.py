"""Images side by side."""

from __future__ import annotations

import numpy as np
import pytest

from cosnorm import plots

GRAY = np.linspace(0, 1, 12).reshape(3, 4)
COLOR = np.stack([GRAY, 2 * GRAY - 0.5, 1 - GRAY], axis=2)


def test_images_are_shown_as_they_are_but_cut_to_the_range() -> None:
    figure = plots.pictures({"gray": [GRAY, 1 - GRAY], "color": [COLOR, COLOR]}, ["one", "two"], title="A")
    shown = [axes.images[0].get_array() for axes in figure.axes]
    expected = [GRAY, 1 - GRAY, np.clip(COLOR, 0, 1), np.clip(COLOR, 0, 1)]
    for found, image in zip(shown, expected, strict=True):
        np.testing.assert_allclose(np.asarray(found), image)
    assert [axes.get_title() for axes in figure.axes] == ["one", "two", "", ""]
    assert [axes.get_ylabel() for axes in figure.axes] == ["gray", "", "color", ""]
    assert {axes.images[0].get_clim() for axes in figure.axes} == {(0, 1)}, "one scale of gray for all"


def test_refuses_what_is_no_grid_of_images() -> None:
    with pytest.raises(ValueError, match="at least one"):
        plots.pictures({})
    with pytest.raises(ValueError, match="at least one"):
        plots.pictures({"nothing": []})
    with pytest.raises(ValueError, match="same number"):
        plots.pictures({"a": [GRAY], "b": [GRAY, GRAY]})
    with pytest.raises(ValueError, match="1 columns of images need as many names, got 2"):
        plots.pictures({"a": [GRAY]}, ["one", "two"])
    with pytest.raises(ValueError, match="got \\(3, 4, 2\\)"):
        plots.pictures({"a": [COLOR[..., :2]]})


def test_same_svg_twice() -> None:
    one, two = (plots.to_svg(plots.pictures({"color": [COLOR]}, title="A")) for _ in range(2))
    assert one == two
