"""Estimate the GPU shares, duration and cost of a pipeline on given hardware."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from actors.config import ConfigError, GgufModel, ModelConfig
from pipelines.capacity.balance import Balance, Demand, balanced, per_gpu
from pipelines.capacity.fractions import (
    estimate_memory,
    main_memory,
    resolve_fraction,
    resolve_fractions,
)
from pipelines.capacity.refining import RefiningMemory, refining_memory
from pipelines.config import LoadedPipeline
from pipelines.pool import Pool


@dataclass(frozen=True, slots=True)
class Machine:
    """GPUs of one model, and CPUs if known. ``memory``: bytes per GPU; ``price``: per hour."""

    gpu: str
    memory: int
    gpus: int
    cpus: float | None = None
    price: float | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """The workload: documents, tokens per document, and known documents/s of each model.

    ``rates``: of one actor alone on its GPU; ``gpu_rates``: of a GPU with any number of actors;
    ``source``: where the figures come from, for display.
    """

    documents: float
    tokens_per_document: float
    rates: Mapping[str, float]
    source: Mapping[str, str]
    gpu_rates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """A stage: the resources of an actor, the proposed actors, and their throughput if the other
    stages were idle. ``needs_gb``: GPU memory; ``main_gb``: the most main memory of an actor that
    decodes pages, with its decoding processes. ``busy``: its utilisation when all stages run."""

    model: str
    kind: str
    gpus: float
    needs_gb: dict[str, float] | None
    main_gb: dict[str, float] | None
    exact: bool | None
    actors_per_gpu: int
    actors: int
    stated_actors: int
    documents_per_s: float | None
    busy: float | None
    figures: str


@dataclass(frozen=True, slots=True)
class CapacityEstimate:
    """The stages, the totals, suggested changes (best first), and notes on the assumptions.

    ``cpus``: total requested by all actors; ``bound``: the bottleneck, GPUs or actors;
    ``refining``: main memory of the stages without actors.
    """

    steps: tuple[StageEstimate, ...]
    cpus: float
    documents_per_s: float | None
    hours: float | None
    cost: float | None
    slowest: str | None
    bound: str | None
    changes: tuple[str, ...]
    notes: tuple[str, ...]
    refining: tuple[RefiningMemory, ...] = ()


def estimate_capacity(loaded: LoadedPipeline, machine: Machine, work: Work) -> CapacityEstimate:
    """Estimate a pipeline on a machine.

    Raises ConfigError, with the numbers, if a model does not fit on a GPU, or one actor of each
    stage does not fit on the machine.
    """
    fitted = on_gpu(loaded, machine.memory)
    demands = _demands(fitted, machine, work)
    balance = balanced(demands, machine.gpus, machine.cpus)
    if balance is None:
        cpus = "" if machine.cpus is None else f" and {machine.cpus:g} CPUs"
        parts = ", ".join(f"{d.name} {d.gpus:g} GPU and {d.cpus:g} CPU" for d in demands)
        raise ConfigError(
            f"one actor of each stage does not fit on {machine.gpus} {machine.gpu}{cpus}: {parts}"
        )
    total = balance.total
    hours = work.documents / total / 3600 if total else None
    cost = hours * machine.price if hours is not None and machine.price is not None else None
    return CapacityEstimate(
        steps=tuple(_steps(fitted, demands, balance, work)),
        cpus=sum(d.cpus * n for d, n in zip(demands, balance.counts, strict=True)),
        documents_per_s=total,
        hours=hours,
        cost=cost,
        slowest=demands[_slowest(balance)].name if total else None,
        bound=("gpus" if balance.by_gpus else "actors") if total else None,
        changes=tuple(_changes(fitted, machine, demands, balance)),
        notes=tuple(_notes(demands, balance, machine)),
        refining=tuple(refining_memory(loaded.stages)),
    )


def _slowest(balance: Balance) -> int:
    """The index of the stage with the lowest throughput of its own."""
    return min(range(len(balance.rates)), key=lambda i: balance.rates[i] or 0.0)


def on_gpu(loaded: LoadedPipeline, memory: int) -> LoadedPipeline:
    """Resolve the pipeline for a GPU with ``memory`` bytes, ignoring the GPU memory in its file."""
    stages = tuple(
        stage
        if stage.pool is None
        else replace(stage, pool=stage.pool.model_copy(update={"gpu_memory_gb": None}))
        for stage in loaded.stages
    )
    return resolve_fractions(replace(loaded, stages=stages), lambda: memory)


def on_cpus(loaded: LoadedPipeline) -> LoadedPipeline:
    """Move pools with ``cpu_fallback`` to the CPU. Raises ConfigError for a pool that needs a
    GPU."""

    def without(name: str, pool: Pool) -> Pool:
        if pool.num_gpus == 0:
            return pool
        if not pool.cpu_fallback:
            raise ConfigError(
                f"{name}: pool.num_gpus is {pool.num_gpus}: pass --gpu NAME:GB, e.g. --gpu "
                "a10g:24, or set pool.cpu_fallback"
            )
        return pool.model_copy(update={"num_gpus": 0.0, "fill_gpu": False})

    stages = tuple(
        stage if stage.pool is None else replace(stage, pool=without(stage.name, stage.pool))
        for stage in loaded.stages
    )
    return replace(loaded, stages=stages)


def _demands(loaded: LoadedPipeline, machine: Machine, work: Work) -> list[Demand]:
    return [_demand(stage.name, stage.actors, machine, work) for stage in loaded.pooled]


def _demand(name: str, pool: Pool, machine: Machine, work: Work) -> Demand:
    # GPUs limit the actors that use them; CPUs, or else their pool, limit the others.
    bounded = pool.gpus > 0 or machine.cpus is not None
    most = None if bounded else pool.max_actors
    rate, gpu_rate = work.rates.get(name), work.gpu_rates.get(name)
    if gpu_rate is not None and not 0 < pool.gpus < 1:
        raise ConfigError(f"{name}: it does not share a GPU, so --gpu-rate does not apply")
    if rate is None and gpu_rate is not None:
        rate = gpu_rate / per_gpu(pool.gpus)  # per actor, with as many as fit on a GPU
    elif rate is not None and gpu_rate is not None and gpu_rate < rate:
        raise ConfigError(
            f"{name}: --gpu-rate {gpu_rate:g} is below --rate {rate:g}: a full GPU is at least as "
            "fast as one actor alone"
        )
    # An actor has at least one thread, however small its num_cpus.
    return Demand(name, pool.gpus, max(pool.num_cpus, pool.threads), rate, most, gpu_rate)


def _steps(
    loaded: LoadedPipeline,
    demands: list[Demand],
    balance: Balance,
    work: Work,
) -> Iterator[StageEstimate]:
    total = balance.total
    for demand, count, rate, stage in zip(
        demands, balance.counts, balance.rates, loaded.pooled, strict=True
    ):
        need = estimate_memory(stage.pooled) if demand.gpus else None
        yield StageEstimate(
            model=stage.name,
            kind=stage.kind,
            gpus=demand.gpus,
            needs_gb=_gb(need.parts) if need else None,
            main_gb=_gb(main) if (main := main_memory(stage.pooled, stage.actors)) else None,
            exact=need.exact if need else None,
            actors_per_gpu=per_gpu(demand.gpus),
            actors=count,
            stated_actors=stage.actors.max_actors,
            documents_per_s=rate,
            busy=total / rate if total and rate else None,
            figures=work.source.get(stage.name, "none: use --rate or --calibrate"),
        )


def _gb(parts: Mapping[str, int]) -> dict[str, float]:
    return {name: round(size / 1e9, 3) for name, size in parts.items()}


def _changes(
    loaded: LoadedPipeline, machine: Machine, demands: list[Demand], balance: Balance
) -> Iterator[str]:
    """Suggested changes: single changes that speed up the slowest stage, best first."""
    now = balance.total
    if now is None:
        return
    slowest = _slowest(balance)
    name = demands[slowest].name
    gains: list[tuple[float, str]] = []

    def try_change(words: str, demands_then: list[Demand], gpus: int, cpus: float | None) -> None:
        found = balanced(demands_then, gpus, cpus)
        faster = found.total if found else None
        if faster is not None and faster > now * 1.01:
            gains.append((faster, f"{words}: {faster:,.1f} documents/s instead of {now:,.1f}"))

    stage = loaded.pooled[slowest]
    if not stage.reads_pictures and demands[slowest].gpus:
        for words, smaller in _smaller(stage.model):
            open_ = replace(stage, config=smaller, pool=Pool(num_gpus="auto"))
            fraction = resolve_fraction(open_, lambda: machine.memory).actors.gpus
            demands_then = [*demands]
            demands_then[slowest] = replace(demands[slowest], gpus=fraction)
            try_change(
                f"{name}: {words} (fraction {fraction:g})", demands_then, *_capacity(machine)
            )
    if demands[slowest].gpus:
        try_change(f"one more {machine.gpu}", demands, machine.gpus + 1, machine.cpus)
    if machine.cpus is not None:
        try_change("twice the CPUs", demands, machine.gpus, 2 * machine.cpus)
    elif demands[slowest].most is not None:
        most = 2 * (demands[slowest].most or 1)
        demands_then = [*demands]
        demands_then[slowest] = replace(demands[slowest], most=most)
        try_change(f"{name}: pool.max_actors: {most}", demands_then, *_capacity(machine))
    yield from (words for _, words in sorted(gains, key=lambda gain: -gain[0]))


def _notes(demands: list[Demand], balance: Balance, machine: Machine) -> Iterator[str]:
    """The assumptions behind the figures."""
    if machine.cpus is None:
        requested = sum(d.cpus * n for d, n in zip(demands, balance.counts, strict=True))
        yield f"CPUs: assumes the {requested:g} that the actors request (set --cpus to limit them)"
    for demand in demands:
        if demand.gpu_seconds and demand.gpu_rate is None and per_gpu(demand.gpus) > 1:
            yield (
                f"{demand.name}: assumes that one actor saturates its GPU, so the "
                f"{per_gpu(demand.gpus)} that fit are no faster than one; if you measured more, "
                f"pass --gpu-rate {demand.name}=DOCS_PER_S"
            )


def _capacity(machine: Machine) -> tuple[int, float | None]:
    return machine.gpus, machine.cpus


def _smaller(model: ModelConfig) -> Iterator[tuple[str, ModelConfig]]:
    """The model as it is, and variants that need less GPU memory for as many documents."""
    yield "num_gpus: auto", model
    if not isinstance(model, GgufModel):
        return
    changes: list[tuple[str, dict[str, object]]] = []
    if model.context.type_k == "f16":
        changes.append(("an eight-bit KV cache", {"type_k": "q8_0", "type_v": "q8_0"}))
    if model.context.kv_tokens is None:
        half = model.context.length * (model.context.slots + model.context.prefixes) // 2
        common = max(half, model.context.length)
        changes.append((f"context.kv_tokens: {common}, for short documents", {"kv_tokens": common}))
    for words, change in changes:
        context = model.context.model_copy(update=change)
        yield words, model.model_copy(update={"context": context})
