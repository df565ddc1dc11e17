"""The paper's experiments: what each one is, and how to run it."""

from cosnorm.experiments.registry import Experiment, Printed, Scale, Technique, get, registry
from cosnorm.experiments.running import Plan, plan, run, stored

__all__ = ["Experiment", "Plan", "Printed", "Scale", "Technique", "get", "plan", "registry", "run", "stored"]
