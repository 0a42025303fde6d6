"""Ray Data on a private Ray, which has one node: without the actors that it starts for clusters.

Ray Data starts three actors for a dataset, and waits for them before its first task or actor: one
counts what the dashboard shows, one divides the resources of a growing cluster among datasets, and
one knows the nodes of actors. Each is a Python process of 2 CPU seconds. On one node that nobody
joins, with one dataset and no dashboard, their answers are known.

Ray has no settings for this. Its version is pinned, and a name that another one lacks is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import ray
from ray.data._internal import stats
from ray.data._internal.cluster_autoscaler import rate_based_cluster_autoscaler
from ray.data._internal.cluster_autoscaler.base_autoscaling_coordinator import (
    STANDARD_RESOURCE_TYPES,
    AutoscalingCoordinator,
)
from ray.data._internal.execution.operators import actor_pool_map_operator

from pipelines.private_ray import replaced


@contextmanager
def on_one_node() -> Iterator[None]:
    """Context for executing a dataset on the only node of a Ray, which no other dataset uses."""
    node = ray.get_runtime_context().get_node_id()

    def locations(actors: Iterable[str]) -> dict[str, str]:
        return dict.fromkeys(actors, node)

    with (
        replaced(
            stats._StatsManager,
            gen_dataset_id_from_stats_actor=staticmethod(lambda: uuid4().hex),
            register_dataset_to_stats_actor=staticmethod(_ignored),
            update_execution_metrics=staticmethod(_ignored),
            update_iteration_metrics=staticmethod(_ignored),
        ),
        replaced(rate_based_cluster_autoscaler, DefaultAutoscalingCoordinator=_WholeNode),
        replaced(
            actor_pool_map_operator,
            get_actor_locations=locations,
            get_or_create_actor_location_tracker=_NoTracker,
        ),
    ):
        yield


def _ignored(*_: Any, **__: Any) -> None:
    """Stands for calls whose results nobody reads."""


class _WholeNode(AutoscalingCoordinator):  # type: ignore[misc]
    """Gives a dataset all resources of the node; there are no more to ask for."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._reserved = {
            node["NodeID"]: {
                name: amount
                for name, amount in node["Resources"].items()
                if name in STANDARD_RESOURCE_TYPES
            }
            for node in ray.nodes()
        }

    def request_resources(self, *_: Any, **__: Any) -> None:
        """Nothing can be added."""

    def cancel_request(self) -> None:
        """Nothing was requested."""

    def get_reserved_resources(self) -> dict[str, dict[str, float]]:
        """The resources of the node."""
        return self._reserved


class _NoTracker:
    """Stands for the actor that actors report their nodes to; it is pickled to them."""

    update_actor_location = SimpleNamespace(remote=_ignored)
