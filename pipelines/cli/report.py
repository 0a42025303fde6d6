"""``medspan report``: the HTML report of a committed run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape

from pipelines.cli.errors import show_error
from pipelines.cli.sink_argument import SinkPath, committed_run, store_of

if TYPE_CHECKING:
    from pipelines.markup.page_image import Sheet
    from pipelines.report import ReportDocument
    from pipelines.runs.results import Result
    from pipelines.runs.store import RunStore
    from pipelines.tables.snapshot import Snapshot

_CHARACTERS = 200_000  # of a document in a report, about 60 pages
_SHEETS = 200  # page images in one report, about 100 kB each


def report(
    sink: SinkPath,
    run: Annotated[
        str | None,
        typer.Option(
            help="Only what this run wrote: a run id, or latest; default: all live documents."
        ),
    ] = None,
    documents: Annotated[int, typer.Option(min=1, help="Maximum number of documents shown.")] = 200,
    out: Annotated[
        str | None,
        typer.Option(help="Output path; default: _reports/live.html or <run>.html in the sink."),
    ] = None,
    deidentified: Annotated[
        bool,
        typer.Option(
            "--deidentified",
            help="Show what de-identification of the latest run, or of --run, replaced.",
        ),
    ] = False,
) -> None:
    """Write the HTML report of the live documents, or of one run.

    It works offline and contains patients' text.
    """
    from pipelines.tables.folder import RunError

    console = Console(highlight=False)
    try:
        store = store_of(sink)
        run_id = committed_run(store, run) if run else None
        path = (
            write_deidentified_report(store, run_id or store.latest(), limit=documents, path=out)
            if deidentified
            else write_report(store, run_id, limit=documents, path=out)
        )
    except RunError as error:
        show_error(error, console)
        raise typer.Exit(2) from error
    console.print(escape(path), soft_wrap=True)


def write_report(store: RunStore, run_id: str | None, limit: int, path: str | None = None) -> str:
    """Render the live documents, or those that a run wrote, to HTML; the path of the file.

    It shows at most ``limit`` documents; those of a large sink come from evenly spaced files.
    """
    from datetime import datetime

    import yaml

    from pipelines.report import ReportRun, ReportStep, write

    snapshot = store.snapshot(run_id)
    marker = snapshot.ledger.facts(snapshot.run_id)
    counts = marker["counts"] if run_id else _live_counts(snapshot)
    config = marker["config"]
    steps = [
        ReportStep(
            model=stage["name"],
            pool="none" if stage["pool"] is None else _pool(stage["pool"]),
            prompt_tokens=counts["tokens"].get(stage["name"], 0),
            seconds=counts["seconds"].get(stage["name"], 0.0),
        )
        for stage in config["stages"]
    ]
    live = marker["current"]["documents"]
    written = sum(counts["documents"].values())
    about = ReportRun(
        name=marker["name"],
        run_id=snapshot.run_id,
        shows=f"all {live:,} live documents, after this run"
        if run_id is None
        else f"the {written:,} documents that this run wrote, of {live:,} live ones",
        started=datetime.fromisoformat(marker["started_at"]),
        seconds=marker["seconds"] if run_id else counts["wall"],
        documents_ok=counts["documents"].get("ok", 0),
        documents_truncated=counts["documents"].get("truncated", 0),
        documents_failed=counts["documents"].get("failed", 0),
        entity_counts=counts["entities"],
        entities_ungrounded=counts["grounding"].get("ungrounded", 0),
        steps=steps,
        source=", ".join(config["pipeline"]["source"]["path"]),
        sink=store.path,
        vocabularies=[f"{one['name']} {one['version']}" for one in marker["vocabularies"]],
        config=yaml.safe_dump(config["pipeline"], sort_keys=False),
    )
    path = path or f"{store.path}/_reports/{run_id or 'live'}.html"
    write(path, about, _documents(snapshot, run_id, marker, limit), limit=limit)
    return path


def _live_counts(snapshot: Snapshot) -> dict[str, Any]:
    """The counts of a marker for all that is live, from two columns of each table; work is that of
    all runs with live documents."""

    def counted(table: Literal["documents", "entities"], column: str) -> dict[str, int]:
        found = Counter[str]()
        for part in snapshot.tables(table, [column]):
            for one in part[column].value_counts().to_pylist():
                found[one["values"]] += one["counts"]
        return dict(found.most_common())

    live = {one.run_id for one in snapshot.units}
    markers = [facts for run, facts in snapshot.ledger.all_facts.items() if run in live]
    work: dict[str, Counter[str]] = {"tokens": Counter(), "seconds": Counter()}
    for name, sums in work.items():
        for marker in markers:
            sums.update(marker["counts"][name])
    return {
        "documents": counted("documents", "status"),
        "entities": counted("entities", "label"),
        "grounding": counted("entities", "grounding"),
        "wall": sum(marker["seconds"] for marker in markers),
        **work,
    }


def write_deidentified_report(
    store: RunStore, run_id: str, limit: int, path: str | None = None
) -> str:
    """The same for the before and after of a run's de-identified documents."""
    from pipelines.deidentified_report import DeidentifiedRun, write_deidentified
    from pipelines.runs.counterparts import read_counterparts

    snapshot = store.snapshot(run_id)
    marker = snapshot.ledger.facts(run_id)
    documents = read_counterparts(snapshot, run_id, most_files=limit)
    replaced, residue = Counter[tuple[str, str]](), Counter[str]()
    for row in _released(snapshot, run_id):
        for one in row["counts"] or ():
            replaced[one["category"], one["policy"]] += one["count"]
        residue.update(one["category"] for one in row["residue"] or ())
    about = DeidentifiedRun(
        name=marker["name"],
        run_id=run_id,
        documents=marker["counts"]["deidentified"],
        replaced=replaced,
        residue=residue,
    )
    path = path or f"{store.path}/_reports/{run_id}-deidentified.html"
    write_deidentified(path, about, documents, limit=limit)
    return path


def _released(snapshot: Snapshot, run_id: str) -> Iterator[dict[str, Any]]:
    if "deidentified/documents" not in snapshot.names:
        return
    for table in snapshot.tables("deidentified/documents", ["run_id", "counts", "residue"]):
        yield from (row for row in table.to_pylist() if row["run_id"] == run_id)


def _pool(pool: dict[str, float]) -> str:
    actors = f"{pool['min_actors']} to {pool['max_actors']} actors"
    if pool["min_actors"] == pool["max_actors"]:
        actors = f"{pool['min_actors']} actor" + ("s" if pool["min_actors"] > 1 else "")
    gpus = f", {pool['num_gpus']} GPU each" if pool["num_gpus"] else ""
    return f"{actors}, {pool['num_cpus']:g} CPU each{gpus}"


class _Sheets:
    """Lazily loads the page images of one document, within the report's remaining budget."""

    def __init__(self, result: Result, config: dict[str, Any], left: list[int]) -> None:
        self._result, self._config, self._left = result, config, left

    def __call__(self) -> list[Sheet]:
        from pipelines.cli.report_pages import sheets

        found = sheets(self._result, self._config, self._left[0])
        self._left[0] -= len(found)
        return found


def _documents(
    snapshot: Snapshot, run_id: str | None, marker: dict[str, Any], limit: int
) -> Iterator[ReportDocument]:
    from actors.spans import Status
    from pipelines.markup.page_structure import STRUCTURE_COLUMNS, page_structure
    from pipelines.report import ReportDocument
    from pipelines.runs.results import read_results

    left = [_SHEETS]
    columns = ["steps", "problems", *STRUCTURE_COLUMNS]
    # The report samples its input. Evenly spaced files bound how much of a large run is read.
    results = read_results(
        snapshot, run_id, most_files=limit, columns=columns, most_characters=_CHARACTERS
    )
    for result in results:
        shown = len(result.text or "")
        cut = f"the first {shown:,} of {result.characters:,} characters are shown"
        yield ReportDocument(
            doc_id=result.doc_id,
            status=Status(result.status),
            text=result.text,
            entities=result.entities,
            sections=result.sections,
            relations=result.relations,
            error_type=result.error_type,
            error_message=result.error_message,
            problems=[
                *([("report", cut)] if shown < result.characters else []),
                *(("source", problem) for problem in result.more["problems"] or ()),
                *(
                    (step["model"], problem)
                    for step in result.more["steps"] or ()
                    for problem in step["problems"] or ()
                ),
            ],
            structure=page_structure(result.text or "", len(result.page_sizes), result.more),
            sheets=_Sheets(result, marker["config"], left) if result.page_sizes else None,
        )
