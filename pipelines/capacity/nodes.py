"""Check pools against the cluster's nodes before work starts: placement, and threads against cores.

An actor has as many threads as CPUs, but at least one. So a pool with less than one CPU per actor,
or a node that declares more CPUs than it has cores, can oversubscribe the cores of a node.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.config import ConfigError
from actors.memory import cores
from pipelines.pool import Pool

log = logging.getLogger(__name__)
_ASK_SECONDS = 30.0
_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Node:
    """The resources a node declares to Ray, and the cores that a process there may use."""

    cpus: float
    gpus: float
    cores: float

    @classmethod
    def of(cls, resources: Mapping[str, float], own: float | None = None) -> Node:
        """From Ray's resources of a node; ``own``: its measured cores, if known."""
        cpus = resources.get("CPU", 0.0)
        return cls(cpus, resources.get("GPU", 0.0), cpus if own is None else min(cpus, own))


def nodes() -> list[Node]:
    """The live nodes with their cores; one that does not respond counts as it declares."""
    alive = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
    own = _query_cores([name for name, resources in alive.items() if resources.get("CPU")])
    return [Node.of(resources, own.get(name)) for name, resources in alive.items()]


def _query_cores(names: Iterable[str]) -> dict[str, float]:
    here = ray.get_runtime_context().get_node_id()
    found = {here: float(cores())}
    ask = ray.remote(num_cpus=0, max_retries=0)(cores)
    answers = {
        name: ask.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(name, soft=False)
        ).remote()
        for name in names
        if name != here
    }
    if answers:
        ray.wait([*answers.values()], num_returns=len(answers), timeout=_ASK_SECONDS)
    for name, answer in answers.items():
        try:
            found[name] = float(ray.get(answer, timeout=0))
        except ray.exceptions.RayError:
            log.warning("a node did not report its cores; assuming the CPUs that it declares")
    return found


def check_threads(pools: Sequence[Pool], where: Sequence[Node], what: str = "steps") -> None:
    """Raise ConfigError if the actors on a node could have more threads than it has cores.

    ``what``: the key of the pools in the pipeline file.
    """
    together = sum(node.cores for node in where)
    least = sum(pool.min_actors * pool.threads for pool in pools)
    if least > together + _SLACK:
        raise ConfigError(
            f"{what}: min_actors of all pools have {least} threads and the cluster has "
            f"{together:g} cores; {way_to_fit(pools, together)}"
        )
    for node in where:
        placed = _most(pools, node)
        threads = sum(count * pool.threads for pool, count in placed)
        if threads <= node.cores + _SLACK:
            continue
        actors = ", ".join(
            f"{count} of {pool.threads} thread{'s' * (pool.threads > 1)} and {pool.num_cpus:g} CPUs"
            for pool, count in placed
        )
        message = (
            f"{what}: a {node.cores:g}-core node could be assigned actors with {threads} threads "
            f"in total ({actors})"
        )
        ways = ["lower pool.max_actors"]
        if any(pool.num_cpus < pool.threads for pool, _ in placed):
            ways.insert(0, "set pool.num_cpus to 1 or more (an actor has at least one thread)")
        if node.cpus > node.cores + _SLACK:
            message += f", since it declares {node.cpus:g} CPUs to Ray"
            ways.insert(0, f"start Ray there with --num-cpus {node.cores:g}")
        raise ConfigError(f"{message} (oversubscribed); {', or '.join(ways)}")


def way_to_fit(pools: Sequence[Pool], there: float) -> str:
    """Advice for when min_actors of all pools need more cores than there are."""
    if len(pools) > there + _SLACK:
        return (
            f"each of the {len(pools)} models needs a core (an actor has at least one thread): use "
            "fewer models, or a machine or cluster with more cores"
        )
    ways = ["pool.num_cpus"] if any(pool.num_cpus > 1 for pool in pools) else []
    ways += ["pool.min_actors"] if any(pool.min_actors > 1 for pool in pools) else []
    return f"lower {' or '.join(ways)}"


def check_nodes(pools: Sequence[Pool], where: Sequence[Node], what: str = "steps") -> None:
    """Raise ConfigError if a single actor cannot be placed: it needs one node for its CPUs and one
    GPU for its fraction. ``what`` as in ``check_threads``."""
    widest = max((node.cpus for node in where), default=0.0)
    for pool in pools:
        if pool.num_cpus > widest + _SLACK:
            raise ConfigError(
                f"{what}: an actor requests {pool.num_cpus:g} CPUs, but the largest node has "
                f"{widest:g}; lower pool.num_cpus"
            )
    free_share = [1.0] * sum(int(node.gpus) for node in where)
    parts = [pool.gpus for pool in pools for _ in range(pool.min_actors) if pool.gpus]
    for part in sorted(parts, reverse=True):
        whole = part >= 1
        free = [i for i, left in enumerate(free_share) if left >= (1 if whole else part) - _SLACK]
        count = int(part) if whole else 1
        if len(free) < count:
            raise ConfigError(
                f"{what}: the GPU fractions of min_actors "
                f"({', '.join(f'{p:g}' for p in sorted(parts, reverse=True))}) do not fit on "
                f"{len(free_share)} GPUs: a fraction cannot span GPUs; lower pool.num_gpus or "
                "pool.min_actors"
            )
        for i in free[:count]:
            free_share[i] -= min(part, 1.0)


def _most(pools: Sequence[Pool], node: Node) -> list[tuple[Pool, int]]:
    """The actors per pool that Ray could place on a node, maximising their threads."""
    left, gpus, found = node.cpus, node.gpus, []
    for pool in sorted(pools, key=lambda pool: -pool.threads / pool.num_cpus):
        count = min(pool.max_actors, int(left / pool.num_cpus + _SLACK))
        if pool.gpus:
            count = min(count, int(gpus / pool.gpus + _SLACK))
        if count:
            found.append((pool, count))
            left -= count * pool.num_cpus
            gpus -= count * pool.gpus
    return found
