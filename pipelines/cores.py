"""Actors against the nodes they land on, threads against cores: refused before work, with numbers.

An actor's threads are its CPUs, but at least one; so a pool of less than a CPU an actor, or a node
that declares more CPUs than it has cores, could put more threads on a node than it has cores.
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
    """What a node declares to Ray, and the cores that a process there may run on."""

    cpus: float
    gpus: float
    cores: float

    @classmethod
    def of(cls, resources: Mapping[str, float], own: float | None = None) -> Node:
        """From Ray's account of it; ``own``: its cores, where it was asked for them."""
        cpus = resources.get("CPU", 0.0)
        return cls(cpus, resources.get("GPU", 0.0), cpus if own is None else min(cpus, own))


def nodes() -> list[Node]:
    """The nodes of the cluster, each asked for its cores; one that does not answer has what it
    declares."""
    alive = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
    own = _asked([name for name, resources in alive.items() if resources.get("CPU")])
    return [Node.of(resources, own.get(name)) for name, resources in alive.items()]


def _asked(names: Iterable[str]) -> dict[str, float]:
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
            log.warning("a node did not say its cores: it is taken to have what it declares")
    return found


def check_threads(pools: Sequence[Pool], where: Sequence[Node], what: str = "steps") -> None:
    """Raise ConfigError where a node could get more threads of actors than it has cores; ``what``
    is the key of the pipeline file that the pools stand under."""
    together = sum(node.cores for node in where)
    least = sum(pool.min_actors * pool.threads for pool in pools)
    if least > together + _SLACK:
        raise ConfigError(
            f"{what}: the least actors have {least} threads and the cluster has {together:g} "
            f"cores; {way_to_fit(pools, together)}"
        )
    for node in where:
        placed = _most(pools, node)
        threads = sum(count * pool.threads for pool, count in placed)
        if threads <= node.cores + _SLACK:
            continue
        told = ", ".join(
            f"{count} of {pool.threads} thread{'s' * (pool.threads > 1)} and {pool.num_cpus:g} CPUs"
            for pool, count in placed
        )
        said = (
            f"{what}: a node of {node.cores:g} cores could get actors of {threads} threads ({told})"
        )
        ways = ["lower pool.max_actors"]
        if any(pool.num_cpus < pool.threads for pool, _ in placed):
            ways.insert(0, "set pool.num_cpus to 1 or more (an actor has a thread at least)")
        if node.cpus > node.cores + _SLACK:
            said += f", since it declares {node.cpus:g} CPUs to Ray"
            ways.insert(0, f"start Ray there with --num-cpus {node.cores:g}")
        raise ConfigError(f"{said}: they would share cores; {', or '.join(ways)}")


def way_to_fit(pools: Sequence[Pool], there: float) -> str:
    """What can be done where the least actors of some pools need more than so many cores."""
    if len(pools) > there + _SLACK:
        return (
            f"each of the {len(pools)} models needs a core (an actor has a thread at least): have "
            "fewer of them in the file, or a machine or cluster with more cores"
        )
    ways = ["pool.num_cpus"] if any(pool.num_cpus > 1 for pool in pools) else []
    ways += ["pool.min_actors"] if any(pool.min_actors > 1 for pool in pools) else []
    return f"lower {' or '.join(ways)}"


def check_nodes(pools: Sequence[Pool], where: Sequence[Node], what: str = "steps") -> None:
    """Raise ConfigError where sums fit and single actors do not: an actor is on one node, and its
    fraction on one card. ``what`` as of ``check_threads``."""
    widest = max((node.cpus for node in where), default=0.0)
    for pool in pools:
        if pool.num_cpus > widest + _SLACK:
            raise ConfigError(
                f"{what}: an actor asks for {pool.num_cpus:g} CPUs, and no node has more than "
                f"{widest:g}: its threads would share cores; lower pool.num_cpus"
            )
    room = [1.0] * sum(int(node.gpus) for node in where)
    parts = [pool.gpus for pool in pools for _ in range(pool.min_actors) if pool.gpus]
    for part in sorted(parts, reverse=True):
        whole = part >= 1
        free = [i for i, left in enumerate(room) if left >= (1 if whole else part) - _SLACK]
        count = int(part) if whole else 1
        if len(free) < count:
            raise ConfigError(
                f"{what}: {len(room)} cards cannot be cut into the least actors' fractions "
                f"({', '.join(f'{p:g}' for p in sorted(parts, reverse=True))}): a fraction lies on "
                "one card; lower pool.num_gpus or pool.min_actors"
            )
        for i in free[:count]:
            room[i] -= min(part, 1.0)


def _most(pools: Sequence[Pool], node: Node) -> list[tuple[Pool, int]]:
    """Actors of each pool that Ray could put on a node such that their threads are the most."""
    left, cards, found = node.cpus, node.gpus, []
    for pool in sorted(pools, key=lambda pool: -pool.threads / pool.num_cpus):
        count = min(pool.max_actors, int(left / pool.num_cpus + _SLACK))
        if pool.gpus:
            count = min(count, int(cards / pool.gpus + _SLACK))
        if count:
            found.append((pool, count))
            left -= count * pool.num_cpus
            cards -= count * pool.gpus
    return found
