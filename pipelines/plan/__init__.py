"""What fits on which fraction of which card, how long a run takes there, and what to change."""

from __future__ import annotations

from pipelines.plan.balance import Demand, balanced, packs, per_card
from pipelines.plan.calibrate import Calibration, calibrate
from pipelines.plan.plan import Machine, Plan, StepPlan, Work, make_plan, on_card

__all__ = [
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
    "packs",
    "per_card",
]
