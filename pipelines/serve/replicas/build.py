"""Build the Serve application of a pipeline file, for ``medspan serve`` and ``serve deploy``.

A Serve config file names ``pipelines.serve.replicas.build:application`` as its import path and
passes
``args: {config: <pipeline file>}``; see configs/deploy/serve.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import ray
from pydantic import Field, TypeAdapter
from ray import serve
from ray.serve import Application

from actors.config import ConfigError, GgufModel, Section
from actors.config.load import validate
from pipelines.capacity.fractions import on_cpu, resolve_fraction, smallest_gpu
from pipelines.capacity.nodes import Node, check_nodes, check_threads, nodes, way_to_fit
from pipelines.config import load_pipeline
from pipelines.pool import Pool
from pipelines.release import releaser
from pipelines.serve.answering.answer import PICTURES
from pipelines.serve.catalogue import Catalogue, catalogue_of
from pipelines.serve.replicas.health import Settings
from pipelines.serve.replicas.ingress import Ingress
from pipelines.serve.replicas.replica import PictureReplica, Replica
from pipelines.stages import Stage

# Concurrent requests per ingress process; the admission queues are the real bound.
_INGRESS_REQUESTS = 1_000


class BuildArgs(Section):
    """The ``args`` of the application in a Serve config file."""

    config: str = Field(description="Pipeline file, at a path that exists on the cluster's nodes.")
    revision: str = Field(
        "", description="Any string; changing it reloads everything without downtime."
    )
    open: bool = Field(
        False,
        description="Serve without a tokens file: a proxy in front authenticates requests, under "
        "host names listed in serve.hosts.",
    )


def application(args: dict[str, Any]) -> Application:
    """Serve's entry point: the application of a config file's ``args``. Raises ConfigError."""
    arguments = validate(TypeAdapter(BuildArgs), args, Path("args"))
    loaded = load_pipeline(arguments.config)
    loaded.pipeline.storage.apply()
    found = catalogue_of(loaded)
    if found.serve.tokens is None and not arguments.open:
        raise ConfigError(
            f"{arguments.config}: serve.tokens is required: a cluster answers anyone who can reach "
            "it; if a proxy in front authenticates requests, list its host names in serve.hosts "
            "and set `open: true` in args"
        )
    return build(found)


def build(catalogue: Catalogue) -> Application:
    """Build the application on the connected Ray cluster.

    Raises ConfigError if the cluster cannot hold the minimum replicas of all models at once, or the
    key of de-identification is missing.
    """
    releaser(catalogue.targets[catalogue.default].refining)  # raises without the key
    catalogue = _fitted(catalogue)
    catalogue, surge = _placed(catalogue)
    limits, options = catalogue.serve.limits, catalogue.serve
    handles = {}
    for stage in catalogue.stages:
        pool = stage.actors
        handles[PICTURES if stage.reads_pictures else stage.name] = (
            serve.deployment(PictureReplica if stage.reads_pictures else Replica)
            .options(
                name=f"model-{stage.name}",
                ray_actor_options={"num_cpus": pool.num_cpus, "num_gpus": pool.gpus},
                max_ongoing_requests=_ongoing(stage, options.target_ongoing_requests),
                max_queued_requests=limits.queue_documents,
                health_check_period_s=5,
                # A health check never waits for the model, so a late one is a failure.
                health_check_timeout_s=10,
                graceful_shutdown_timeout_s=limits.max_deadline_s,
                graceful_shutdown_wait_loop_s=0.5,
                max_surge_percent=surge,
                **_scaling(pool, options.target_ongoing_requests),
            )
            .bind(stage.config, _settings(pool, options.stall_timeout_s), catalogue.storage)
        )
    return (
        serve.deployment(Ingress)
        .options(
            name="http",
            num_replicas=options.ingress_replicas,
            ray_actor_options={"num_cpus": 0},
            max_surge_percent=100,
            max_ongoing_requests=_INGRESS_REQUESTS,
            graceful_shutdown_timeout_s=limits.max_deadline_s,
            graceful_shutdown_wait_loop_s=0.5,
        )
        .bind(catalogue, handles)
    )


def _ongoing(stage: Stage, target: float) -> int:
    """Concurrent requests per replica: enough to keep a language model's slots full while the
    next requests are in transit."""
    slots = stage.config.context.slots if isinstance(stage.config, GgufModel) else 0
    return max(8, round(target * 4), 2 * slots)


def _settings(pool: Pool, stall_timeout_s: float) -> Settings:
    return Settings(
        stall_timeout_s=stall_timeout_s,
        recycle_documents=pool.recycle_documents,
        recycle_growth_mb=pool.recycle_growth_mb,
        cpu_fallback=pool.cpu_fallback,
    )


def _scaling(pool: Pool, target: float) -> dict[str, Any]:
    if pool.min_actors == pool.max_actors:
        return {"num_replicas": pool.min_actors}
    return {
        "num_replicas": "auto",
        "autoscaling_config": {
            "min_replicas": pool.min_actors,
            "max_replicas": pool.max_actors,
            "target_ongoing_requests": target,
        },
    }


def _fitted(catalogue: Catalogue) -> Catalogue:
    """The catalogue with all GPU fractions resolved and models sized to fill them."""
    if not any(stage.actors.num_gpus for stage in catalogue.stages):
        return catalogue
    none = not ray.cluster_resources().get("GPU", 0.0)
    gpu_memory = cache(smallest_gpu)

    def resolve_gpus(stage: Stage) -> Stage:
        if none and stage.actors.cpu_fallback and stage.actors.num_gpus == "auto":
            stage = on_cpu(stage)
        return resolve_fraction(stage, gpu_memory)

    return _each(catalogue, resolve_gpus)


def _each(catalogue: Catalogue, change: Callable[[Stage], Stage]) -> Catalogue:
    """Apply ``change`` to every stage."""
    models = {name: change(stage) for name, stage in catalogue.models.items()}
    reader = None if catalogue.reader is None else change(catalogue.reader)
    return replace(catalogue, models=models, reader=reader)


def _placed(catalogue: Catalogue) -> tuple[Catalogue, int]:
    # Returns the pools that this cluster can place, and the surge of a rolling update. If every
    # replica fits twice, new replicas start before old ones stop (100). Otherwise Serve would wait
    # forever for the new ones, so it stops the old ones first and requests queue meanwhile (0).
    total = ray.cluster_resources()
    gpus, cpus = total.get("GPU", 0.0), total.get("CPU", 0.0)

    def without_gpu(stage: Stage) -> Stage:
        pool = stage.actors
        return on_cpu(stage) if pool.num_gpus and not gpus and pool.cpu_fallback else stage

    catalogue = _each(catalogue, without_gpu)
    replicas = [stage.actors for stage in catalogue.stages]
    where, surge = nodes(), 100
    for word, key, there in (("CPUs", "num_cpus", cpus), ("GPUs", "gpus", gpus)):
        need = sum(getattr(pool, key) * pool.min_actors for pool in replicas)
        if 2 * need > there + 1e-6:
            surge = 0
        if need > there + 1e-6:
            least = f"the minimum replicas need {need:g} {word} and the cluster has {there:g}"
            lower = "lower pool.num_gpus or pool.min_actors"
            how = way_to_fit(replicas, there) if word == "CPUs" else lower
            raise ConfigError(f"serve: {least}; {how}")
    check_nodes(replicas, where, "serve.pools")
    check_threads(replicas, where, "serve.pools")
    return catalogue, surge if _holds(replicas * 2, where) else 0


def _holds(pools: Sequence[Pool], where: Sequence[Node]) -> bool:
    try:
        check_nodes(pools, where)
    except ConfigError:
        return False
    return True
