"""Images cropped, distorted and whitened on the device, minibatch by minibatch, from the stored bytes.

The pipeline is that of TensorFlow's CIFAR-10 tutorial (tensorflow/models,
``tutorials/image/cifar10/cifar10_input.py``), which the paper's experiment follows without stating the
strengths: a random crop, a flip with probability 1/2, a brightness offset from U(-63, 63), a contrast factor
from U(0.2, 1.8) about each channel's mean, then ``tf.image.per_image_standardization``. For evaluation the
crop is central and nothing is distorted. By then values are floats, so nothing is clipped.

Whitening subtracts the image's mean, so it undoes every change of brightness exactly. Of a change of contrast
it leaves only how much the channels' means weigh against the variation within the channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

BRIGHTNESS = 63.0  # on the scale of bytes, 0 to 255
CONTRAST = (0.2, 1.8)


@dataclass(frozen=True)
class ImageSettings:
    """What is done to images before the network sees them.

    Parameters
    ----------
    crop
        Side of the square that is kept, in pixels; None keeps the whole image.
    whiten
        Whether to standardize each image: x -> (x - mean) / max(std, 1/sqrt(n)) over its n stored values.
    augment
        Whether training images are distorted, differently in each epoch.
    """

    crop: int | None = None
    whiten: bool = False
    augment: bool = False

    def __post_init__(self) -> None:
        if self.crop is not None and (isinstance(self.crop, bool) or not isinstance(self.crop, int)):
            raise TypeError(f"crop must be an integer number of pixels or None, got {self.crop!r}")
        if self.crop is not None and self.crop < 1:
            raise ValueError(
                f"crop must be at least 1 pixel, or None to keep the whole image, got {self.crop}"
            )


@dataclass(frozen=True)
class Distortions:
    """How each training image differs in one epoch. All are ``(..., N)``, one entry per example."""

    top: Tensor  #: int64: the first row of the crop
    left: Tensor  #: int64: the first column of the crop
    flip: Tensor  #: bool: whether left and right are exchanged
    brightness: Tensor  #: float64: added to every value, on a scale whose maximum is 255
    contrast: Tensor  #: float64: multiplies the distance from the channel's mean

    def of(self, indices: Tensor) -> Distortions:
        """The entries of the examples ``indices``, ``(..., B)``."""
        return Distortions(*(getattr(self, field.name).gather(-1, indices) for field in fields(self)))

    def flatten(self) -> Distortions:
        """The same entries with one dimension."""
        return Distortions(*(getattr(self, field.name).flatten() for field in fields(self)))


class Images:
    """The images of a training or test set, on a device.

    Parameters
    ----------
    inputs
        Uint8, ``(N, C, H, W)``.
    targets
        The classes, ``(N,)``, on the same device.
    maximum
        The largest value that an input can take: without whitening, values are divided by it.
    settings
        Cropping, whitening and augmentation.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, maximum: float, settings: ImageSettings) -> None:
        _check(inputs, targets, maximum, settings)
        self.inputs, self.targets = inputs.contiguous(), targets
        self.maximum, self.settings = maximum, settings
        _, channels, height, width = inputs.shape
        rows, columns = (settings.crop or height), (settings.crop or width)
        #: Shape of one image as the network sees it, ``(C, rows, columns)``.
        self.shape = (channels, rows, columns)
        self._room = (height - rows, width - columns)
        top, left = (room // 2 for room in self._room)
        self._central = self.inputs[:, :, top : top + rows, left : left + columns]
        # Made here: a CUDA graph can hold no copy from the host.
        self._rows = torch.arange(rows, device=inputs.device)
        self._columns = torch.arange(columns, device=inputs.device)

    def draw(self, generator: torch.Generator) -> Distortions:
        """New distortions for every example, ``(N,)`` each, on the device of the images.

        The generator is on the CPU, so that a seed gives the same distortions on every device.
        """
        if not self.settings.augment:
            raise ValueError("these images are not augmented: draw from ImageSettings(augment=True)")
        size = (len(self.inputs),)
        top, left = (torch.randint(room + 1, size, generator=generator) for room in self._room)
        flip = torch.rand(size, generator=generator, dtype=torch.float64) < 0.5
        brightness, contrast = (
            torch.rand(size, generator=generator, dtype=torch.float64) * (high - low) + low
            for low, high in ((-BRIGHTNESS, BRIGHTNESS), CONTRAST)
        )
        device = self.inputs.device
        return Distortions(*(drawn.to(device) for drawn in (top, left, flip, brightness, contrast)))

    def inputs_of(self, indices: Tensor, distortions: Distortions | None) -> Tensor:
        """Inputs for the network, ``(..., B, C, rows, columns)``, in torch's default dtype.

        An image does not depend on the rest of its batch, to the last bit, because its statistics are sums
        of integers. Nothing here waits for the device, so a CUDA graph can record it.

        Parameters
        ----------
        indices
            Int64, ``(..., B)``: which examples.
        distortions
            Their fields are ``(..., N)``, with the leading dimensions of ``indices``. ``None`` gives the
            undistorted central crop, as for evaluation and for training without augmentation.
        """
        flat = indices.flatten()
        if distortions is None:
            pixels, drawn = self._central.index_select(0, flat), None
        else:
            drawn = distortions.of(indices).flatten()
            pixels = self._crop(flat, drawn)
        return self._scale_values(pixels, drawn).view(*indices.shape, *self.shape)

    def _crop(self, indices: Tensor, drawn: Distortions) -> Tensor:
        count, (channels, rows, columns) = len(indices), self.shape
        height, width = self.inputs.shape[2:]
        mirrored = self._columns.flip(0)
        row = drawn.top[:, None] + self._rows
        column = drawn.left[:, None] + torch.where(drawn.flip[:, None], mirrored, self._columns)
        places = (row[:, :, None] * width + column[:, None, :]).view(count, 1, rows * columns)
        whole = self.inputs.index_select(0, indices).view(count, channels, height * width)
        return whole.gather(2, places.expand(-1, channels, -1)).view(count, *self.shape)

    def _scale_values(self, pixels: Tensor, drawn: Distortions | None) -> Tensor:
        # Brightness, contrast and whitening together are affine in each channel of each image.
        values = pixels.to(torch.get_default_dtype())
        if drawn is None and not self.settings.whiten:
            return values.div_(self.maximum)
        mean, scale, shift = self._affine(pixels, drawn)
        # Not one multiplication and one addition: x * scale + shift cancels badly far from zero.
        return values.sub_(mean).mul_(scale).add_(shift)

    def _affine(self, pixels: Tensor, drawn: Distortions | None) -> list[Tensor]:
        # Mean, scale and shift of (x - mean) * scale + shift: each broadcasts to (B, C, 1, 1).
        count = math.prod(self.shape[1:])
        sums = pixels.sum((-2, -1), dtype=torch.int64)
        mean = sums.double() / count
        if self.settings.whiten:
            contrast = 1.0 if drawn is None else drawn.contrast[:, None]
            center = sums.sum(1, keepdim=True).double() / (count * self.shape[0])
            deviation = self._deviation(pixels, sums, contrast)
            scale, shift = contrast / deviation, (mean - center) / deviation
        else:
            assert drawn is not None
            offset = drawn.brightness[:, None] * (self.maximum / 255)
            scale, shift = drawn.contrast[:, None] / self.maximum, (mean + offset) / self.maximum
        dtype = torch.get_default_dtype()
        return [part.to(dtype)[..., None, None] for part in (mean, scale, shift)]

    def _deviation(self, pixels: Tensor, sums: Tensor, contrast: Tensor | float) -> Tensor:
        # The standard deviation of each image after the change of contrast, (B, 1). The variances within
        # channels and between their means add up; contrast changes only the first.
        channels, count = self.shape[0], math.prod(self.shape[1:])
        squares = pixels.int().square_().sum((-3, -2, -1), dtype=torch.int64)[:, None]
        squared_sums = sums.square().sum(1, keepdim=True)
        total = sums.sum(1, keepdim=True)
        within = (count * squares - squared_sums).double() / (channels * count**2)
        between = (channels * squared_sums - total.square()).double() / (channels * count) ** 2
        deviation = (within * contrast**2 + between).sqrt()
        return deviation.clamp(min=1 / math.sqrt(channels * count))


def _check(inputs: Tensor, targets: Tensor, maximum: float, settings: ImageSettings) -> None:
    if inputs.dtype != torch.uint8:
        raise TypeError(f"images must be bytes (torch.uint8), got {inputs.dtype}")
    if inputs.dim() != 4 or 0 in inputs.shape[1:]:
        raise ValueError(f"images must have the shape (N, C, H, W), got {tuple(inputs.shape)}")
    if targets.shape != inputs.shape[:1]:
        raise ValueError(f"{len(inputs)} images need as many targets, got the shape {tuple(targets.shape)}")
    if not maximum > 0:
        raise ValueError(f"maximum must be the largest value that an input can take, got {maximum}")
    height, width = inputs.shape[2:]
    if settings.crop is not None and settings.crop > min(height, width):
        raise ValueError(
            f"crop must be at most {min(height, width)} for images {height}x{width}, got {settings.crop}"
        )
