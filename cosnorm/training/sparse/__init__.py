"""Training a network's first layer from sparse rows, such as documents, without a dense copy of them."""

from cosnorm.training.sparse.batches import SparseBatch, SparseExamples
from cosnorm.training.sparse.layers import SparseLayer, sparse_layer, sparse_techniques

__all__ = ["SparseBatch", "SparseExamples", "SparseLayer", "sparse_layer", "sparse_techniques"]
