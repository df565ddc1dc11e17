"""The image pipeline against one written plainly in NumPy, and against TensorFlow's own figures."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor
from training.problems import default_dtype

from cosnorm.training.images import Distortions, Images, ImageSettings
from cosnorm.training.inputs import ImageSplit

COUNT, SHAPE = 12, (3, 9, 8)
BOTH = [ImageSettings(crop, whiten, augment)
        for crop in (None, 5) for whiten in (False, True) for augment in (False, True)]  # fmt: skip


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.randint(256, (COUNT, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def images(pixels: Tensor, settings: ImageSettings, maximum: float = 255.0) -> Images:
    return Images(pixels, torch.zeros(len(pixels), dtype=torch.int64), maximum, settings)


def drawn(images: Images, seed: int = 4) -> Distortions | None:
    return images.draw(torch.Generator().manual_seed(seed)) if images.settings.augment else None


def oracle(
    image: np.ndarray, settings: ImageSettings, maximum: float, entry: dict[str, float] | None
) -> np.ndarray:
    """One image, step by step in the order of TensorFlow's tutorial, in float64."""
    _, height, width = image.shape
    rows, columns = settings.crop or height, settings.crop or width
    top, left = (height - rows) // 2, (width - columns) // 2
    if entry is not None:
        top, left = int(entry["top"]), int(entry["left"])
    image = image[:, top : top + rows, left : left + columns].astype(np.float64)
    if entry is not None:
        image = image[:, :, ::-1] if entry["flip"] else image
        image = image + entry["brightness"] * maximum / 255
        for channel in image:
            channel[:] = (channel - channel.mean()) * entry["contrast"] + channel.mean()
    if not settings.whiten:
        return image / maximum
    return (image - image.mean()) / max(image.std(), 1 / np.sqrt(image.size))


def entry_of(distortions: Distortions | None, index: int) -> dict[str, float] | None:
    if distortions is None:
        return None
    return {field.name: getattr(distortions, field.name)[index].item() for field in fields(distortions)}


@pytest.mark.parametrize("settings", BOTH, ids=str)
@pytest.mark.parametrize("maximum", [255.0, 16.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-13)])
def test_matches_the_steps_taken_one_by_one(
    settings: ImageSettings, maximum: float, dtype: torch.dtype, tolerance: float, pixels: Tensor
) -> None:
    stored = (pixels.double() * (maximum / 255)).to(torch.uint8)
    split = images(stored, settings, maximum)
    distortions = drawn(split)
    indices = torch.tensor([7, 0, 11, 3, 3, 5, 1])
    with default_dtype(dtype):
        found = split.inputs_of(indices, distortions)
    assert found.dtype == dtype
    assert found.shape == (7, *split.shape)
    assert split.shape == (SHAPE if settings.crop is None else (3, 5, 5))
    for place, index in enumerate(indices.tolist()):
        wanted = oracle(stored[index].numpy(), settings, maximum, entry_of(distortions, index))
        np.testing.assert_allclose(found[place], wanted, rtol=tolerance, atol=4 * tolerance)


def test_the_stored_bytes_stay_as_they_are(pixels: Tensor) -> None:
    before = pixels.clone()
    for settings in BOTH:
        split = images(pixels, settings)
        split.inputs_of(torch.arange(COUNT), drawn(split))
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("settings", BOTH, ids=str)
def test_an_image_is_the_same_in_every_batch(settings: ImageSettings, pixels: Tensor) -> None:
    """To the bit: alone, among all, and in another order."""
    split = images(pixels, settings)
    distortions = drawn(split)
    together = split.inputs_of(torch.arange(COUNT), distortions)
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    assert torch.equal(split.inputs_of(order, distortions), together[order])
    for index in range(COUNT):
        assert torch.equal(split.inputs_of(torch.tensor([index]), distortions)[0], together[index])


@pytest.mark.parametrize("settings", BOTH, ids=str)
def test_replicas_in_front(settings: ImageSettings, pixels: Tensor) -> None:
    """Each row of a stack has its own indices and its own distortions, and comes out as by itself."""
    split = images(pixels, settings)
    each = [drawn(split, seed) for seed in (1, 2)]
    indices = torch.tensor([[0, 5, 2], [2, 11, 5]])
    stack = None
    if settings.augment:
        columns = [torch.stack([getattr(one, field.name) for one in each]) for field in fields(Distortions)]
        stack = Distortions(*columns)
    found = split.inputs_of(indices, stack)
    assert found.shape == (2, 3, *split.shape)
    for replica in range(2):
        assert torch.equal(found[replica], split.inputs_of(indices[replica], each[replica]))


@pytest.mark.parametrize("settings", BOTH, ids=str)
def test_no_images_at_all(settings: ImageSettings, pixels: Tensor) -> None:
    split = images(pixels, settings)
    found = split.inputs_of(torch.empty(0, dtype=torch.int64), drawn(split))
    assert found.shape == (0, *split.shape)


def test_bytes_without_settings_are_divided_by_the_maximum(pixels: Tensor) -> None:
    found = images(pixels, ImageSettings()).inputs_of(torch.arange(COUNT), None)
    assert torch.equal(found, pixels.float() / 255.0)


TENSORFLOW = torch.arange(1, 13, dtype=torch.uint8).view(2, 2, 3)
"""The image of TensorFlow's documentation, (height, width, channels)."""


def test_whitening_gives_the_figures_of_tensorflows_documentation() -> None:
    split = images(TENSORFLOW.permute(2, 0, 1)[None], ImageSettings(whiten=True))
    found = split.inputs_of(torch.tensor([0]), None)[0].permute(1, 2, 0)
    wanted = [-1.593255, -1.3035723, -1.0138896, -0.7242068, -0.4345241, -0.14484136]
    wanted += [-value for value in reversed(wanted)]
    np.testing.assert_allclose(found.flatten(), wanted, rtol=2e-7)


def test_contrast_gives_the_figures_of_tensorflows_documentation() -> None:
    split = images(TENSORFLOW.permute(2, 0, 1)[None], ImageSettings(augment=True), maximum=1.0)
    zero = torch.zeros(1, dtype=torch.int64)
    twice = Distortions(zero, zero, zero.bool(), zero.double(), torch.tensor([2.0], dtype=torch.float64))
    found = split.inputs_of(zero, twice)[0].permute(1, 2, 0)
    wanted = [-3.5, -2.5, -1.5, 2.5, 3.5, 4.5, 8.5, 9.5, 10.5, 14.5, 15.5, 16.5]
    assert found.flatten().tolist() == wanted


def test_whitening_never_divides_by_less_than_the_floor() -> None:
    """All values alike give zeros; one value off by one has a deviation below 1/sqrt(n)."""
    flat = torch.full((2, 3, 4, 4), 200, dtype=torch.uint8)
    flat[1, 2, 3, 0] += 1
    found = images(flat, ImageSettings(whiten=True)).inputs_of(torch.arange(2), None)
    assert torch.equal(found[0], torch.zeros(3, 4, 4))
    size = 48
    assert found[1, 2, 3, 0].item() == pytest.approx((1 - 1 / size) * np.sqrt(size), rel=1e-6)
    assert found[1, 0, 0, 0].item() == pytest.approx(-np.sqrt(size) / size, rel=1e-5)


def test_whitening_undoes_brightness_but_not_contrast(pixels: Tensor) -> None:
    split = images(pixels, ImageSettings(5, whiten=True, augment=True))
    distortions = split.draw(torch.Generator().manual_seed(0))
    indices = torch.arange(COUNT)
    found = split.inputs_of(indices, distortions)
    brighter = replace(distortions, brightness=distortions.brightness + 40)
    assert torch.equal(split.inputs_of(indices, brighter), found)
    stronger = replace(distortions, contrast=distortions.contrast * 1.5)
    assert (split.inputs_of(indices, stronger) - found).abs().amax() > 0.05
    alone = images(pixels[:, :1], ImageSettings(5, whiten=True, augment=True))
    difference = alone.inputs_of(indices, stronger) - alone.inputs_of(indices, distortions)
    assert difference.abs().amax() < 1e-6  # one channel: whitening takes all of it


@pytest.mark.parametrize(("size", "crop", "top"), [(9, 4, 2), (8, 5, 1), (32, 24, 4), (7, 7, 0)])
def test_the_central_crop(size: int, crop: int, top: int) -> None:
    """TensorFlow's, too, leaves the odd pixel at the bottom and the right."""
    rows = torch.arange(size, dtype=torch.uint8)[:, None].expand(1, 1, size, size)
    found = images(rows, ImageSettings(crop)).inputs_of(torch.tensor([0]), None) * 255
    assert found[0, 0, :, 0].round().int().tolist() == list(range(top, top + crop))


def test_what_is_drawn() -> None:
    """Every place and both flips in their share, the ranges to their ends, nothing that hangs together."""
    count = 20_000
    split = images(torch.zeros(count, 1, 9, 8, dtype=torch.uint8), ImageSettings(5, augment=True))
    found = split.draw(torch.Generator().manual_seed(0))
    for places, room in ((found.top, 5), (found.left, 4)):
        share = torch.bincount(places) / count
        assert len(share) == room
        assert (share - 1 / room).abs().max() < 5 * np.sqrt(1 / room / count)
    assert abs(found.flip.double().mean() - 0.5) < 5 * 0.5 / np.sqrt(count)
    for values, low, high in ((found.brightness, -63, 63), (found.contrast, 0.2, 1.8)):
        assert low <= values.min() < low + (high - low) / 1000
        assert high - (high - low) / 1000 < values.max() < high
        assert abs(values.mean() - (low + high) / 2) < 5 * (high - low) / np.sqrt(12 * count)
        assert values.std().item() == pytest.approx((high - low) / np.sqrt(12), rel=0.02)
    table = torch.stack([getattr(found, field.name).double() for field in fields(found)])
    correlations = torch.corrcoef(table) - torch.eye(len(table), dtype=torch.float64)
    assert correlations.abs().max() < 5 / np.sqrt(count)


def test_one_seed_draws_one_sequence(pixels: Tensor) -> None:
    split = images(pixels, ImageSettings(5, augment=True))

    def sequence(dtype: torch.dtype) -> list[Distortions]:
        generator = torch.Generator().manual_seed(9)
        with default_dtype(dtype):
            return [split.draw(generator) for _ in range(2)]

    ours, theirs = sequence(torch.float32), sequence(torch.float64)
    for field in fields(Distortions):
        first, second = (getattr(one, field.name) for one in ours)
        assert first.shape == (COUNT,)
        assert not torch.equal(first, second)
        assert torch.equal(first, getattr(theirs[0], field.name))
        assert torch.equal(second, getattr(theirs[1], field.name))


def test_nothing_is_drawn_without_augmentation(pixels: Tensor) -> None:
    with pytest.raises(ValueError, match=r"ImageSettings\(augment=True\)"):
        images(pixels, ImageSettings(5)).draw(torch.Generator())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"inputs": torch.zeros(2, 3, 4, 4)}, TypeError, r"bytes \(torch.uint8\), got torch.float32"),
        ({"inputs": torch.zeros(2, 4, 4, dtype=torch.uint8)}, ValueError, r"\(N, C, H, W\), got \(2, 4, 4\)"),
        ({"inputs": torch.zeros(2, 0, 4, 4, dtype=torch.uint8)}, ValueError, r"\(N, C, H, W\)"),
        ({"targets": torch.zeros(3)}, ValueError, r"2 images need as many targets, got the shape \(3,\)"),
        ({"maximum": 0.0}, ValueError, "largest value that an input can take, got 0.0"),
        ({"maximum": float("nan")}, ValueError, "largest value"),
        ({"settings": ImageSettings(5)}, ValueError, "crop must be at most 4 for images 6x4, got 5"),
    ],
)
def test_images_that_do_not_fit(change: dict, error: type[Exception], message: str) -> None:
    sound = {
        "inputs": torch.zeros(2, 3, 6, 4, dtype=torch.uint8),
        "targets": torch.zeros(2),
        "maximum": 255.0,
        "settings": ImageSettings(),
    }
    with pytest.raises(error, match=message):
        Images(**{**sound, **change})


@pytest.mark.parametrize(
    ("crop", "error"), [(0, ValueError), (-3, ValueError), (True, TypeError), (2.0, TypeError)]
)
def test_settings_that_make_no_sense(crop: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="crop must be"):
        ImageSettings(crop)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("settings", BOTH, ids=str)
def test_a_cuda_graph_holds_it_and_gives_the_same_bits_as_the_cpu(
    settings: ImageSettings, pixels: Tensor
) -> None:
    here, there = images(pixels, settings), images(pixels.cuda(), settings)
    first, second = drawn(here, 1), drawn(here, 2)
    indices, distortions = torch.arange(4).cuda(), drawn(there, 1)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        there.inputs_of(indices, distortions)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = there.inputs_of(indices, distortions)
    graph.replay()
    assert torch.equal(found.cpu(), here.inputs_of(torch.arange(4), first))
    indices.copy_(torch.tensor([9, 2, 2, 6]))
    if distortions is not None and second is not None:
        for field in fields(Distortions):
            getattr(distortions, field.name).copy_(getattr(second, field.name))
    graph.replay()
    assert torch.equal(found.cpu(), here.inputs_of(torch.tensor([9, 2, 2, 6]), second))


def test_processors_get_pixels_before_channels_in_memory(pixels: Tensor) -> None:
    """A cosine's output lies in memory as its input does, and pooling needs ten times as long elsewhere."""
    targets = torch.zeros(len(pixels), dtype=torch.int64)
    split = ImageSplit(pixels, targets, 255.0, ImageSettings(whiten=True), flat=False)
    indices = torch.arange(len(pixels))
    inputs = split.inputs_of(indices)
    assert inputs.stride(1) == 1 < inputs.shape[1]
    assert torch.equal(inputs, split.images.inputs_of(indices, None))
