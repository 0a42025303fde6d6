"""What a pipeline will need of given cards, how long it will take there, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from actors.config import ConfigError, GgufModel, ModelConfig
from pipelines.config import LoadedPipeline, Pool
from pipelines.fractions import need_of, sized, sized_step
from pipelines.plan.balance import Demand, balanced, per_card, speed


@dataclass(frozen=True, slots=True)
class Machine:
    """Cards of one kind, and CPUs where they are known; ``price``: an hour of all of them."""

    card: str
    memory: int
    cards: int
    cpus: float | None = None
    price: float | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """Documents, their length in tokens, and each model's documents/s an actor where known.

    ``source``: where the figures come from, for people.
    """

    documents: float
    tokens_per_document: float
    rates: Mapping[str, float]
    source: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step: what an actor takes, how many are proposed, and what they do together."""

    model: str
    kind: str
    gpus: float
    needs_gb: dict[str, float] | None
    exact: bool | None
    actors_per_card: int
    actors: int
    stated_actors: int
    documents_per_s: float | None
    busy: float | None
    figures: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps, the whole, and changes that would make it faster, the best first."""

    steps: tuple[StepPlan, ...]
    documents_per_s: float | None
    hours: float | None
    cost: float | None
    slowest: str | None
    changes: tuple[str, ...]


def make_plan(loaded: LoadedPipeline, machine: Machine, work: Work) -> Plan:
    """The plan of a pipeline on a machine. Raises ConfigError, with the numbers, where a model does
    not fit on a card, or one actor of each step not on all of them."""
    fitted = on_card(loaded, machine.memory)
    demands = _demands(fitted, machine, work)
    counts = balanced(demands, machine.cards, machine.cpus)
    if not counts:
        cpus = "" if machine.cpus is None else f" and {machine.cpus:g} CPUs"
        parts = ", ".join(f"{d.name} {d.gpus:g} GPU and {d.cpus:g} CPU" for d in demands)
        raise ConfigError(
            f"one actor of each step does not fit on {machine.cards} {machine.card}{cpus}: {parts}"
        )
    total = speed(demands, counts)
    hours = work.documents / total / 3600 if total else None
    cost = hours * machine.price if hours is not None and machine.price is not None else None
    rated = [(d.rate * count, d.name) for d, count in zip(demands, counts, strict=True) if d.rate]
    return Plan(
        steps=tuple(_steps(fitted, demands, counts, total, work)),
        documents_per_s=total,
        hours=hours,
        cost=cost,
        slowest=min(rated)[1] if total else None,
        changes=tuple(_changes(fitted, machine, work, demands, counts)),
    )


def on_card(loaded: LoadedPipeline, memory: int) -> LoadedPipeline:
    """The pipeline with fractions of a card of so many bytes, whatever cards its file tells of."""
    steps = tuple(
        step.model_copy(update={"pool": step.pool.model_copy(update={"card_gb": None})})
        for step in loaded.pipeline.steps
    )
    pipeline = loaded.pipeline.model_copy(update={"steps": steps})
    return sized(replace(loaded, pipeline=pipeline), lambda: memory)


def _demands(loaded: LoadedPipeline, machine: Machine, work: Work) -> list[Demand]:
    found = []
    ocr = loaded.pipeline.ocr
    if ocr is not None and loaded.ocr is not None:
        found.append(_demand(loaded.ocr.name, ocr.pool, machine, work))
    for step, model in zip(loaded.pipeline.steps, loaded.models, strict=True):
        found.append(_demand(model.name, step.pool, machine, work))
    return found


def _demand(name: str, pool: Pool, machine: Machine, work: Work) -> Demand:
    # Cards bound the actors that use them; the others are bound by CPUs, or else by their pool.
    bounded = pool.gpus > 0 or machine.cpus is not None
    most = None if bounded else pool.max_actors
    return Demand(name, pool.gpus, pool.num_cpus, work.rates.get(name), most)


def _steps(
    loaded: LoadedPipeline,
    demands: list[Demand],
    counts: list[int],
    total: float | None,
    work: Work,
) -> Iterator[StepPlan]:
    pipeline = loaded.pipeline
    pools = [s.pool for s in pipeline.steps]
    models: list[ModelConfig | None] = list(loaded.models)
    if len(demands) > len(pools) and pipeline.ocr is not None:
        pools.insert(0, pipeline.ocr.pool)
        models.insert(0, None)
    for demand, count, pool, model in zip(demands, counts, pools, models, strict=True):
        need = need_of(model) if model is not None and demand.gpus else None
        rate = demand.rate * count if demand.rate else None
        yield StepPlan(
            model=demand.name,
            kind="ocr" if model is None else model.kind,
            gpus=demand.gpus,
            needs_gb={k: round(v / 1e9, 3) for k, v in need.parts.items()} if need else None,
            exact=need.exact if need else None,
            actors_per_card=per_card(demand.gpus),
            actors=count,
            stated_actors=pool.max_actors,
            documents_per_s=rate,
            busy=total / rate if total and rate else None,
            figures=work.source.get(demand.name, "none: state one or calibrate"),
        )


def _changes(
    loaded: LoadedPipeline, machine: Machine, work: Work, demands: list[Demand], counts: list[int]
) -> Iterator[str]:
    """What to change first: single changes that make the slowest step faster, the most first."""
    now = speed(demands, counts)
    if now is None:
        return
    slowest = min(range(len(demands)), key=lambda i: (demands[i].rate or 0.0) * counts[i])
    name = demands[slowest].name
    gains: list[tuple[float, str]] = []

    def tried(words: str, changed: list[Demand], cards: int, cpus: float | None) -> None:
        found = balanced(changed, cards, cpus)
        faster = speed(changed, found) if found else None
        if faster is not None and faster > now * 1.01:
            gains.append((faster, f"{words}: {faster:,.1f} documents/s instead of {now:,.1f}"))

    index = slowest - (len(demands) - len(loaded.models))
    model = loaded.models[index] if index >= 0 else None
    if model is not None and demands[slowest].gpus:
        for words, smaller in _smaller(model):
            pool = Pool(num_gpus="auto")
            fraction = sized_step(pool, smaller, lambda: machine.memory)[0].gpus
            changed = [*demands]
            changed[slowest] = replace(demands[slowest], gpus=fraction)
            tried(f"{name}: {words} (a fraction of {fraction:g})", changed, *_room(machine))
    if demands[slowest].gpus:
        tried(f"one more {machine.card}", demands, machine.cards + 1, machine.cpus)
    if machine.cpus is not None:
        tried("twice the CPUs", demands, machine.cards, 2 * machine.cpus)
    elif demands[slowest].most is not None:
        most = 2 * (demands[slowest].most or 1)
        changed = [*demands]
        changed[slowest] = replace(demands[slowest], most=most)
        tried(f"{name}: pool.max_actors: {most}", changed, *_room(machine))
    yield from (words for _, words in sorted(gains, key=lambda gain: -gain[0]))


def _room(machine: Machine) -> tuple[int, float | None]:
    return machine.cards, machine.cpus


def _smaller(model: ModelConfig) -> Iterator[tuple[str, ModelConfig]]:
    """The model as it is, and in ways that take less of a card with as many documents in flight."""
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
