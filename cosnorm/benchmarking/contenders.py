"""Ways to compute cosines that people use, each with the weight and the shape of the layer it stands for."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class NormalizedLinear(nn.Linear):
    """Normalize both, then multiply: the usual composition."""

    def forward(self, input: Tensor) -> Tensor:
        """Cosines of ``(N, in_features)`` with the rows of the weight."""
        return F.linear(F.normalize(input, dim=-1), F.normalize(self.weight, dim=-1))


class SimilarityLinear(nn.Linear):
    """:func:`torch.nn.functional.cosine_similarity` of every pair, by broadcasting."""

    def forward(self, input: Tensor) -> Tensor:
        """Cosines of ``(N, in_features)`` with the rows of the weight."""
        return F.cosine_similarity(input.unsqueeze(-2), self.weight, dim=-1)


class MetricLearningLinear(nn.Linear):
    """The distance ``CosineSimilarity`` of the library pytorch-metric-learning.

    Raises
    ------
    ModuleNotFoundError
        Where the library is not installed.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = False) -> None:
        from pytorch_metric_learning.distances import (  # pyright: ignore[reportMissingImports]
            CosineSimilarity,
        )

        super().__init__(in_features, out_features, bias)
        self.similarity = CosineSimilarity()

    def forward(self, input: Tensor) -> Tensor:
        """Cosines of ``(N, in_features)`` with the rows of the weight."""
        return self.similarity(input, self.weight)


class UnfoldedConv2d(nn.Conv2d):
    """Copy every patch out, normalize, multiply; a kernel of odd size that keeps the image's."""

    def forward(self, input: Tensor) -> Tensor:
        """Cosines of the patches of ``(N, C, H, W)`` with the filters."""
        patches = F.unfold(input, self.weight.shape[2:], padding=self.weight.shape[-1] // 2)
        cosines = F.normalize(self.weight.flatten(1), dim=1) @ F.normalize(patches, dim=1)
        return cosines.unflatten(2, input.shape[2:])


class OnesKernelConv2d(nn.Conv2d):
    """Patch lengths by a convolution of the squares with a kernel of ones, as public sources do it."""

    def forward(self, input: Tensor) -> Tensor:
        """Cosines of the patches of ``(N, C, H, W)`` with the filters."""
        ones = torch.ones_like(self.weight[:1])
        squares = F.conv2d(input.square(), ones, padding=self.padding)
        products = F.conv2d(
            input, F.normalize(self.weight.flatten(1), dim=1).view_as(self.weight), padding=self.padding
        )
        return products * torch.rsqrt(squares.clamp_min(1e-24))
