"""Every labelled equation of chapter 17, with images drawn here and averages taken step by step."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest


def images() -> np.ndarray:
    """Six images of three channels with different means and spreads, ``(6, 3, 9, 7)``."""
    draw = np.random.default_rng(17)
    tint, spread = draw.uniform(20, 230, (6, 3, 1, 1)), draw.uniform(5, 60, (6, 3, 1, 1))
    return tint + spread * draw.standard_normal((6, 3, 9, 7))


def whiten(image: np.ndarray) -> np.ndarray:
    return (image - image.mean()) / image.std()


def distort(image: np.ndarray, brightness: float, contrast: float) -> np.ndarray:
    """Channel by channel, as the pipeline is described."""
    return np.stack(
        [channel.mean() + contrast * (channel - channel.mean()) + brightness for channel in image]
    )


@pytest.mark.equation("eq-whitened-distortion")
@pytest.mark.parametrize(("brightness", "contrast"), [(0, 1), (63, 1), (-63, 0.2), (10, 1.8)])
def test_a_whitened_distorted_image(brightness: float, contrast: float) -> None:
    for x in images():
        means = x.mean((1, 2), keepdims=True)
        within, between = ((x - means) ** 2).mean(), means.var()
        derived = (means - x.mean() + contrast * (x - means)) / math.sqrt(between + contrast**2 * within)
        np.testing.assert_allclose(whiten(distort(x, brightness, contrast)), derived, atol=1e-10)


@pytest.mark.equation("eq-whitened-distortion")
def test_of_a_gray_image_nothing_of_the_distortion_is_left() -> None:
    gray = images()[0, :1]
    np.testing.assert_allclose(whiten(distort(gray, 40, 0.3)), whiten(gray), atol=1e-10)


@pytest.mark.equation("eq-whitened-angle")
@pytest.mark.parametrize("contrast", [0.2, 0.7, 1.0, 1.8])
def test_angle_between_an_image_and_its_distortion(contrast: float) -> None:
    for x in images():
        before, after = whiten(x).ravel(), whiten(distort(x, 31, contrast)).ravel()
        measured = before @ after / (np.linalg.norm(before) * np.linalg.norm(after))
        phi = x.mean((1, 2)).var() / x.var()
        derived = (phi + contrast * (1 - phi)) / math.sqrt(phi + contrast**2 * (1 - phi))
        assert measured == pytest.approx(derived, abs=1e-12)
        assert 0 < phi < 1


@pytest.mark.equation("eq-average-share")
@pytest.mark.parametrize("steps", [1, 7, 40])
def test_share_of_the_start_in_a_moving_average(steps: int) -> None:
    """The start is 1 and everything later 0, so the average is the share."""
    constant, ramped, alpha = Fraction(1), Fraction(1), Fraction(9999, 10_000)
    for k in range(1, steps + 1):
        constant = alpha * constant + (1 - alpha) * 0
        decay = Fraction(1 + k, 10 + k)
        ramped = decay * ramped + (1 - decay) * 0
    assert constant == alpha**steps
    assert ramped == Fraction(math.factorial(10) * math.factorial(steps + 1), math.factorial(steps + 10))
