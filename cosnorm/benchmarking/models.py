"""Two networks as people build them from ``torch.nn``, for :func:`cosnorm.convert.convert` to change."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class VisionTransformer(nn.Module):
    """A vision transformer (Dosovitskiy et al. 2021) with torch's own encoder layers, four of them.

    Shape
    -----
    Input ``(N, 3, size, size)``, output ``(N, classes)``.
    """

    def __init__(
        self, size: int = 224, patch: int = 16, width: int = 192, depth: int = 4, classes: int = 10
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 1, width))
        layer = nn.TransformerEncoderLayer(
            width,
            width // 64 or 1,
            4 * width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, input: Tensor) -> Tensor:
        """Class scores of images."""
        tokens = self.patches(input).flatten(2).mT
        tokens = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1) + self.places
        return self.head(self.encoder(tokens)[:, 0])


class Bottleneck(nn.Module):
    """A residual block of three convolutions, each with batch norm, as in ResNet-50 (He et al. 2016)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.way_past = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, input: Tensor) -> Tensor:
        """Of ``(N, inputs, H, W)``, ``(N, 4 * width, H / stride, W / stride)``."""
        return torch.relu_(self.body(input) + self.way_past(input))


class ResidualNetwork(nn.Sequential):
    """The stem of ResNet-50 and one bottleneck block a stage.

    Shape
    -----
    Input ``(N, 3, H, W)``, output ``(N, classes)``.
    """

    def __init__(self, width: int = 64, classes: int = 10) -> None:
        super().__init__(
            nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
            Bottleneck(width, width, 1),
            Bottleneck(4 * width, 2 * width, 2),
            Bottleneck(8 * width, 4 * width, 2),
            Bottleneck(16 * width, 8 * width, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32 * width, classes),
        )
