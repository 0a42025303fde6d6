"""``medspan evaluate``: score a pipeline's entities against gold annotations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from pipelines.cli.errors import show_error
from pipelines.cli.sink_argument import committed_run
from pipelines.exchange.formats import GoldFormat

if TYPE_CHECKING:
    from pipelines.config import LoadedPipeline
    from pipelines.evaluate import GoldDocument, Prediction
    from pipelines.runs.store import RunStore
    from pipelines.tables.snapshot import Snapshot


def evaluate(
    config: Annotated[Path, typer.Argument(help="A pipeline file.")],
    gold: Annotated[
        str,
        typer.Option(
            help='A file or folder: JSONL with {"id", "text", "entities": [{"start", "end", '
            '"label", "text"}]} a line, and "status" and "relations" where people judged them; '
            "CoNLL, brat, Label Studio's JSON, or spaCy's DocBin."
        ),
    ],
    gold_format: Annotated[
        GoldFormat | None, typer.Option(help="Default: by the suffix of the files.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            help="Score the sink: live for all live documents, or a run's id or latest for those "
            "that this run wrote; default: run the pipeline's models on the gold texts in this "
            "process."
        ),
    ] = None,
    html: Annotated[str | None, typer.Option(help="Write an HTML page of the errors.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Report strict and partial precision, recall and F1 of a pipeline, per label."""
    from pipelines.config import load_pipeline
    from pipelines.evaluate import (
        GoldError,
        agreement_table,
        agreements,
        compare,
        score_table,
        write_errors,
    )
    from pipelines.exchange.gold_formats import read_gold
    from pipelines.tables.folder import RunError

    loaded = load_pipeline(config)
    loaded.pipeline.storage.apply()
    console = Console(stderr=as_json)
    try:
        read = read_gold(gold, gold_format)
        documents = read.documents
        comparison = compare(documents, predictions_of(loaded, documents, run))
    except (GoldError, RunError) as error:
        show_error(error, console)
        raise typer.Exit(2) from error
    if html:
        write_errors(html, comparison, name=loaded.pipeline.name)
    agreement = agreements(documents.values())
    if as_json:
        more = {
            "agreement": [asdict(one) for one in agreement],
            "gold_notes": dict(read.notes),
            "scored": scored(loaded, run),
        }
        print(json.dumps(comparison.as_dict() | more))
        return
    console.print(score_table(comparison))
    console.print(escape(f"Scored: {scored(loaded, run)}."), soft_wrap=True, highlight=False)
    if agreement:
        console.print(agreement_table(agreement))
    for what, count in read.notes.most_common():
        console.print(f"[yellow]{escape(gold)}: {count:,} {escape(what)}[/]", soft_wrap=True)
    if html:
        console.print(f"errors: {html}", soft_wrap=True, highlight=False)


def predictions_of(
    loaded: LoadedPipeline, gold: Mapping[str, GoldDocument], run: str | None
) -> Iterator[Prediction]:
    """Yield predictions for the gold texts. ``run`` None: extract them with the pipeline's models;
    ``live``: read those of all live documents from the sink. The id of a run, or ``latest``: read
    those that this run wrote."""
    if run is None:
        return _extracted(loaded, {id_: document.text for id_, document in gold.items()})
    return _stored(loaded.pipeline.sink.path, run)


def scored(loaded: LoadedPipeline, run: str | None) -> str:
    """Which documents ``predictions_of`` yields, in words."""
    from pipelines.runs.store import RunStore

    if run is None:
        return "the gold texts, read in this process"
    snapshot = _snapshot(RunStore(loaded.pipeline.sink.path), run)
    wanted = (one for one in snapshot.units if run == "live" or one.run_id == snapshot.run_id)
    count = f"{sum(one.documents for one in wanted):,}"
    if run == "live":
        return f"the {count} live documents after run {snapshot.run_id}"
    return f"the {count} documents that run {snapshot.run_id} wrote"


def _snapshot(store: RunStore, run: str) -> Snapshot:
    return store.snapshot(None if run == "live" else committed_run(store, run))


def _extracted(loaded: LoadedPipeline, texts: dict[str, str]) -> Iterator[Prediction]:
    from actors.extractor import Extractor
    from actors.spans import Document, worst
    from pipelines.evaluate import Prediction
    from pipelines.refine import annotate, refiner

    documents = [Document(id=id_, text=text) for id_, text in texts.items()]
    found = []
    for stage in loaded.models:
        with Extractor(stage.model) as extractor:
            found.append(extractor.extract(documents))
    policy, refine = loaded.pipeline.merge, refiner(loaded.stages)
    for document, extractions in zip(documents, zip(*found, strict=True), strict=True):
        annotations = annotate(document.text, extractions, policy, refine)
        status = worst(e.status for e in extractions)
        yield Prediction(
            document.id, document.text, annotations.entities, status, annotations.relations
        )


def _stored(path: str, run: str) -> Iterator[Prediction]:
    from actors.spans import Status
    from pipelines.evaluate import Prediction
    from pipelines.runs.results import read_results
    from pipelines.runs.store import RunStore

    snapshot = _snapshot(RunStore(path), run)
    written = snapshot.run_id  # raises where no run is committed
    for result in read_results(snapshot, None if run == "live" else written):
        yield Prediction(
            result.doc_id, result.text, result.entities, Status(result.status), result.relations
        )
