"""``medspan plan``: GPU shares, actors, duration and cost of a run on given hardware."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from pipelines.capacity import CapacityEstimate


def plan(
    config: Annotated[Path, typer.Argument(help="A pipeline file.")],
    gpu: Annotated[
        str | None,
        typer.Option(
            help="GPU model and its memory in GB, e.g. a10g:24; not needed if no pool uses a GPU."
        ),
    ] = None,
    gpus: Annotated[int, typer.Option(min=1, help="Number of GPUs.")] = 1,
    docs: Annotated[float, typer.Option(min=1, help="Number of documents, e.g. 40e6.")] = 1e6,
    tokens_per_doc: Annotated[
        float, typer.Option(min=1, help="Average tokens per document.")
    ] = 600,
    cpus: Annotated[
        float | None,
        typer.Option(min=0.1, help="Total CPUs; default: CPU stages keep their max_actors."),
    ] = None,
    price_per_hour: Annotated[
        float | None, typer.Option(min=0, help="Price per hour of all GPUs and CPUs together.")
    ] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(help="MODEL=DOCS_PER_S of one actor alone on its GPU; repeatable."),
    ] = None,
    gpu_rate: Annotated[
        list[str] | None,
        typer.Option(
            help="MODEL=DOCS_PER_S of a GPU that runs as many actors of the model as fit; "
            "default: the rate of one actor alone."
        ),
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure each model on a sample, on this machine.")
    ] = False,
    sample: Annotated[int, typer.Option(min=1, help="Sample size of --calibrate.")] = 32,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Estimate GPU fractions, actors, throughput, hours and cost, and suggest changes."""
    from actors.memory import parse_gpu
    from pipelines.capacity import Machine, Work, estimate_capacity, measure_rates, on_cpus, on_gpu
    from pipelines.config import load_pipeline

    loaded = load_pipeline(config)
    loaded.pipeline.storage.apply()
    if gpu is None:
        loaded, gpu_name, memory, gpus = on_cpus(loaded), "GPU", 0, 0
    else:
        gpu_name, memory = parse_gpu(gpu)
    names = [stage.name for stage in loaded.pooled]
    rates: dict[str, float] = {}
    source: dict[str, str] = {}
    if calibrate:
        found = measure_rates(on_gpu(loaded, memory), tokens_per_doc, sample)
        rates |= found.rates
        source |= {
            name: f"measured on {found.where} of this machine, {found.documents} documents of "
            f"{length:,.0f} tokens"
            for name, length in found.tokens_per_document.items()
        }
    stated = _stated("--rate", rate, names)
    gpu_wide = _stated("--gpu-rate", gpu_rate, names)
    rates |= stated
    source |= dict.fromkeys([*stated, *(name for name in gpu_wide if name not in rates)], "stated")
    machine = Machine(gpu_name, memory, gpus, cpus, price_per_hour)
    made = estimate_capacity(loaded, machine, Work(docs, tokens_per_doc, rates, source, gpu_wide))
    if as_json:
        print(json.dumps(dataclasses.asdict(made)))
        return
    where = "CPUs" if gpu is None else f"{gpus} x {gpu} GB"
    _show(made, f"{where}, {docs:,.0f} documents of {tokens_per_doc:,.0f} tokens")


def _stated(option: str, items: list[str] | None, names: list[str]) -> dict[str, float]:
    from actors.config import ConfigError

    found: dict[str, float] = {}
    for item in items or []:
        name, _, number = item.partition("=")
        if name not in names:
            raise ConfigError(
                f"{option} {item}: unknown model; the pipeline has {', '.join(names)}"
            )
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = 0.0
        if not 0 < found[name] < float("inf"):
            raise ConfigError(f"{option} {item}: expected MODEL=DOCS_PER_S, e.g. {name}=12.5")
    return found


def _show(plan: CapacityEstimate, title: str) -> None:
    console = Console()
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("stage", overflow="fold")
    for name in ("GPU", "actors/GPU", "actors", "docs/s", "busy"):
        table.add_column(name, justify="right", no_wrap=True)
    for step in plan.steps:
        table.add_row(
            step.model,
            f"{step.gpus:g}" if step.gpus else "none",
            str(step.actors_per_gpu) if step.gpus else "-",
            f"{step.actors} (file: {step.stated_actors})",
            "?" if step.documents_per_s is None else f"{step.documents_per_s:,.1f}",
            "?" if step.busy is None else f"{step.busy:.0%}",
        )
    console.print(table)
    for step in plan.steps:
        console.print(f"{escape(step.model)}: docs/s {step.figures}")
    for step in plan.steps:
        if step.needs_gb:
            parts = ", ".join(f"{name} {size:.2f}" for name, size in step.needs_gb.items())
            about = "" if step.exact else ", about"
            console.print(
                f"{step.model} needs{about} {sum(step.needs_gb.values()):.2f} GB: {parts}"
            )
    for step in plan.steps:
        if step.main_gb:
            console.print(
                f"{step.model} needs at most {_parts(step.main_gb)} of main memory in each actor, "
                "for pages as large as the limits allow"
            )
    for stage in plan.refining:
        own, shared = (_parts(sizes) for sizes in (stage.needs_gb, stage.shared_gb))
        if own:
            console.print(
                f"{stage.stage} needs about {own} of main memory in each of its processes"
            )
        if shared:
            console.print(f"{stage.stage} maps {shared}, which the processes of a node share")
    if plan.hours is None:
        console.print(
            "Hours are unknown: give --rate MODEL=DOCS_PER_S for each model, or --calibrate"
        )
    else:
        _show_hours(console, plan)
    for note in plan.notes:
        console.print(f"  {note}")


def _parts(sizes: dict[str, float]) -> str:
    """Format sizes in GB as "0.15 GB (weights 0.13, tokenizer 0.02)"; "" if there are none."""
    parts = ", ".join(f"{name} {size:.2f}" for name, size in sizes.items())
    return f"{sum(sizes.values()):.2f} GB ({parts})" if parts else ""


def _show_hours(console: Console, plan: CapacityEstimate) -> None:
    cost = "" if plan.cost is None else f", cost {plan.cost:,.2f}"
    console.print(f"{plan.documents_per_s:,.1f} documents/s, {plan.hours:,.1f} hours{cost}")
    bottleneck = "GPU time" if plan.bound == "gpus" else f"the actors of {plan.slowest}"
    console.print(f"bottleneck: {bottleneck}" + ("; suggested changes:" if plan.changes else ""))
    for number, change in enumerate(plan.changes, start=1):
        console.print(f"  {number}. {change}")
