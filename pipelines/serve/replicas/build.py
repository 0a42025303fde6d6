"""Build the Serve application of a pipeline file, for ``medspan serve`` and ``serve deploy``.

A Serve config file names ``pipelines.serve.replicas.build:application`` as its import path and
passes
``args: {config: <pipeline file>}``; see configs/deploy/serve.yaml.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter
from ray import serve
from ray.serve import Application

from actors.config import ConfigError, ConfigSection
from actors.config.load import validate
from pipelines.capacity.placement import fits_twice, place, resolve_gpus
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


class BuildArgs(ConfigSection):
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
    return build_application(found)


def build_application(catalogue: Catalogue) -> Application:
    """Build the application on the connected Ray cluster.

    Raises ConfigError if the cluster cannot hold the minimum replicas of all models at once, or the
    key of de-identification is missing.
    """
    releaser(catalogue.targets[catalogue.default].refining)  # raises without the key
    catalogue = _placed(catalogue)
    # The surge of a rolling update. Where all replicas fit twice, new ones start before old ones
    # stop. Elsewhere Serve would wait forever for the new ones, so it stops the old ones first, and
    # requests queue meanwhile.
    surge = 100 if fits_twice(catalogue.stages) else 0
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
            .bind(
                stage.config,
                _settings(pool, options.stall_timeout_s),
                catalogue.storage,
                catalogue.traces,
            )
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
    return max(8, round(target * 4), 2 * stage.sequences)


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


def _placed(catalogue: Catalogue) -> Catalogue:
    """The catalogue with pools that this cluster can place."""
    placed = place(resolve_gpus(catalogue.stages), "serve.pools")
    stages = {stage.name: stage for stage in placed}
    models = {name: stages[name] for name in catalogue.models}
    reader = None if catalogue.reader is None else stages[catalogue.reader.name]
    return replace(catalogue, models=models, reader=reader)
