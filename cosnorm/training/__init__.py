"""The engine: settings in, learning curves out, many replicas at once."""

from cosnorm.training.device import resolve_device
from cosnorm.training.engine import Checkpoint, Hooks, Watcher, train, train_with
from cosnorm.training.images import ImageSettings
from cosnorm.training.replica import Curves, Replica
from cosnorm.training.splits import Examples

__all__ = [
    "Checkpoint",
    "Curves",
    "Examples",
    "Hooks",
    "ImageSettings",
    "Replica",
    "Watcher",
    "resolve_device",
    "train",
    "train_with",
]
