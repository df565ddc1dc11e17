"""Cosine normalization: layers with the book's own gradients, the experiments, and the evidence."""

from cosnorm.layers import CosineConv1d, CosineConv2d, CosineConv3d, CosineLinear

__version__ = "0.1.0"

__all__ = ["CosineConv1d", "CosineConv2d", "CosineConv3d", "CosineLinear", "__version__"]
