"""Capacity planning: GPU fractions, actor counts, duration and cost of a run."""

from __future__ import annotations

from pipelines.capacity.balance import Balance, Demand, balanced, per_gpu, placed
from pipelines.capacity.estimate import (
    CapacityEstimate,
    Machine,
    StageEstimate,
    Work,
    estimate_capacity,
    on_cpus,
    on_gpu,
)
from pipelines.capacity.measured_rates import MeasuredRates, measure_rates
from pipelines.capacity.refining import RefiningMemory

__all__ = [
    "Balance",
    "CapacityEstimate",
    "Demand",
    "Machine",
    "MeasuredRates",
    "RefiningMemory",
    "StageEstimate",
    "Work",
    "balanced",
    "estimate_capacity",
    "measure_rates",
    "on_cpus",
    "on_gpu",
    "per_gpu",
    "placed",
]
