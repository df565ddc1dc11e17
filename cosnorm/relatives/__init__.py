"""The relatives of cosine normalization that torch lacks, as layers and update rules, one family per file.

All layers compute in float32 when their input has half precision. The options ``device`` and ``dtype`` are
those of torch's layers.
"""

from cosnorm.relatives.batch import (
    MeanOnlyBatchNorm1d,
    MeanOnlyBatchNorm2d,
    MeanOnlyBatchNorm3d,
    ScaleShift,
    set_population_statistics,
)
from cosnorm.relatives.layer import AdaNorm, LayerNormSimple
from cosnorm.relatives.online import ActivationClamp, LayerScaling, OnlineNorm
from cosnorm.relatives.propagation import (
    PropagationConv1d,
    PropagationConv2d,
    PropagationConv3d,
    PropagationLinear,
    Standardize,
)
from cosnorm.relatives.rules import MaxNorm, UpdateRule, WeightDecay
from cosnorm.relatives.scaling import ScalingWeightNorm
from cosnorm.relatives.weight import WeightNormConv1d, WeightNormConv2d, WeightNormConv3d, WeightNormLinear

__all__ = [
    "ActivationClamp",
    "AdaNorm",
    "LayerNormSimple",
    "LayerScaling",
    "MaxNorm",
    "MeanOnlyBatchNorm1d",
    "MeanOnlyBatchNorm2d",
    "MeanOnlyBatchNorm3d",
    "OnlineNorm",
    "PropagationConv1d",
    "PropagationConv2d",
    "PropagationConv3d",
    "PropagationLinear",
    "ScaleShift",
    "ScalingWeightNorm",
    "Standardize",
    "UpdateRule",
    "WeightDecay",
    "WeightNormConv1d",
    "WeightNormConv2d",
    "WeightNormConv3d",
    "WeightNormLinear",
    "set_population_statistics",
]
