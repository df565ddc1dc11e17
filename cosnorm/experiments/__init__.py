"""The paper's experiments: what each one is, and how to run it."""

from cosnorm.experiments.campaign import Campaign, Outcome
from cosnorm.experiments.planning import Plan, plan
from cosnorm.experiments.registry import Experiment, Printed, Scale, Technique, get, registry
from cosnorm.experiments.running import Stopped, run, stored
from cosnorm.experiments.sweeping import SweepError, sweep

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
