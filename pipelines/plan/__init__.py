"""Capacity planning: GPU fractions, actor counts, duration and cost of a run."""

from __future__ import annotations

from pipelines.balance import Balance, Demand, balanced, per_card, placed
from pipelines.plan.calibrate import Calibration, calibrate
from pipelines.plan.plan import Machine, Plan, StepPlan, Work, make_plan, on_card, on_cpus

__all__ = [
    "Balance",
    "Calibration",
    "Demand",
    "Machine",
    "Plan",
    "StepPlan",
    "Work",
    "balanced",
    "calibrate",
    "make_plan",
    "on_card",
    "on_cpus",
    "per_card",
    "placed",
]
