"""OpenLineage events of a committed run: which versions of which files made which tables.

https://openlineage.io/docs/spec/object-model. Two events, START and COMPLETE. Inputs are the files
that the run read, with their versions; outputs are the tables, with the Delta versions that belong
to the run and the rows that it wrote. Names of data sets follow OpenLineage's naming: the bucket or
``file`` is the namespace, the path is the name. No text of a document is in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    dataset_version_dataset,
    output_statistics_output_dataset,
    processing_engine_run,
)
from openlineage.client.serde import Serde

from pipelines.exchange.exporter import ExportError
from pipelines.storage import StoreError
from pipelines.tables.snapshot import Snapshot

_NAMESPACE = "medspan"
_PRODUCER = "urn:medspan"


def lineage_events(snapshot: Snapshot, version: str) -> Iterator[RunEvent]:
    """The events of the run after which ``snapshot`` was taken. ``version``: of medspan."""
    run_id = snapshot.run_id
    facts = snapshot.ledger.facts(run_id)
    engine = processing_engine_run.ProcessingEngineRunFacet(version=version, name="medspan")
    # The same run has the same id, however often it is sent.
    run = Run(
        runId=str(uuid5(NAMESPACE_URL, f"{snapshot.folder.path}/{run_id}")),
        facets={"processing_engine": engine},
    )
    job = Job(namespace=_NAMESPACE, name=facts["name"])
    inputs, outputs = list(_inputs(snapshot)), list(_outputs(snapshot))
    for state, when in ((RunState.START, "started_at"), (RunState.COMPLETE, "committed_at")):
        yield RunEvent(
            eventType=state,
            eventTime=facts[when],
            run=run,
            job=job,
            producer=_PRODUCER,
            inputs=inputs,
            outputs=outputs if state is RunState.COMPLETE else [],
        )


def as_lines(events: Iterable[RunEvent]) -> Iterator[bytes]:
    """Each event as a line of JSON."""
    for event in events:
        yield Serde.to_json(event).encode() + b"\n"


def send(events: Iterable[RunEvent]) -> None:
    """Send events as OpenLineage is configured: ``OPENLINEAGE_URL``, or a file named by
    ``OPENLINEAGE_CONFIG``. Raises ExportError where it is not, StoreError where the events are not
    taken."""
    client = OpenLineageClient()
    if client.transport.kind == "console":
        raise ExportError("OpenLineage is not configured: set OPENLINEAGE_URL, or pass --out")
    try:
        for event in events:
            client.emit(event)
        client.close()
    except Exception as error:  # each transport has its own
        raise StoreError(f"OpenLineage rejected the events: {type(error).__name__}") from error


def _inputs(snapshot: Snapshot) -> Iterator[InputDataset]:
    mine = (unit for unit in snapshot.units if unit.run_id == snapshot.run_id)
    files = {(part.uri, part.version) for unit in mine for part in unit.slices}
    for uri, version in sorted(files):
        facet = dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=version)
        namespace, name = _name(uri)
        yield InputDataset(namespace=namespace, name=name, facets={"version": facet})


def _outputs(snapshot: Snapshot) -> Iterator[OutputDataset]:
    mine = [unit for unit in snapshot.units if unit.run_id == snapshot.run_id]
    rows = {
        "documents": sum(unit.documents for unit in mine),
        "entities": sum(unit.entities for unit in mine),
    }
    for table in ("documents", "entities", "relations"):
        namespace, name = _name(snapshot.folder.uri(table))
        version = str(snapshot.table(table).version)
        statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=rows.get(table)
        )
        yield OutputDataset(
            namespace=namespace,
            name=name,
            facets={
                "version": dataset_version_dataset.DatasetVersionDatasetFacet(
                    datasetVersion=version
                )
            },
            outputFacets={"outputStatistics": statistics} if table in rows else {},
        )


def _name(uri: str) -> tuple[str, str]:
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        return "file", parts.path
    return f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/")
