"""The engine: settings in, learning curves out, many replicas at once."""

from cosnorm.training.engine import Checkpoint, Hooks, Watcher, resolve_device, train, train_with
from cosnorm.training.images import ImageSettings
from cosnorm.training.inputs import Examples
from cosnorm.training.replica import Curves, Replica

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
