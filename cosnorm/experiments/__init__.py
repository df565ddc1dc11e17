"""The paper's experiments: what each one is, and how to run it."""

from cosnorm.experiments.campaign import Campaign, Outcome
from cosnorm.experiments.cluster import SweepError, sweep
from cosnorm.experiments.experiment import Experiment, Printed, Scale, Technique
from cosnorm.experiments.registry import get, registry
from cosnorm.experiments.runner import Plan, Stopped, plan, run, stored

__all__ = [
    "Campaign",
    "Experiment",
    "Outcome",
    "Plan",
    "Printed",
    "Scale",
    "Stopped",
    "SweepError",
    "Technique",
    "get",
    "plan",
    "registry",
    "run",
    "stored",
    "sweep",
]
