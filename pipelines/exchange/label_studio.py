"""Label Studio: a JSON array of tasks with predictions, and the labelling configuration beside it.

A region has its label, its status (``choices`` per region), and codes and section in its notes
(``meta.text``); relations are relations. Label Studio counts code points, and a CR LF of the text
as it is stored. https://labelstud.io/guide/task_format
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import quoteattr

from pipelines.exchange.export_files import ExportFiles
from pipelines.exchange.exporter import (
    ExportOptions,
    Lost,
    Placed,
    count_facts,
    count_unplaced,
    placed,
)
from pipelines.markup.status_words import WORDS, status_words
from pipelines.runs.results import Result

TASKS = "tasks.json"
CONFIGURATION = "labels.xml"


class LabelStudioExporter:
    """Writes ``tasks.json`` to import, and ``labels.xml`` for Settings, Labeling Interface."""

    def __init__(self, output: ExportFiles, options: ExportOptions, lost: Lost) -> None:
        self._output, self._lost, self._patient = output, lost, options.patient
        self._file = output.file(TASKS)
        self._between = "[\n"
        self._labels: dict[str, None] = {}
        self._relations: dict[str, None] = {}

    def write(self, result: Result, text: str) -> None:
        """Write a task."""
        count_unplaced(result, self._lost)
        count_facts(result, self._lost, "sections", "attributes", "boxes")
        regions = list(placed(result.entities))
        data = {"text": text, "doc_id": result.doc_id}
        if self._patient and result.more[self._patient] is not None:
            data["patient"] = str(result.more[self._patient])
        task = {
            "data": data,
            "predictions": [
                {
                    "model_version": ", ".join(sorted({one.entity.model for one in regions})),
                    "result": [
                        *(part for one in regions for part in self._region(one, text)),
                        *self._links(result),
                    ],
                }
            ],
        }
        self._file.write((self._between + json.dumps(task, ensure_ascii=False)).encode())
        self._between = ",\n"

    def _region(self, one: Placed, text: str) -> Iterator[dict[str, Any]]:
        self._labels[one.label] = None
        entity = one.entity
        at = {"start": one.start, "end": one.end, "text": text[one.start : one.end]}
        region: dict[str, Any] = {"id": f"e{one.index}", "to_name": "text"}
        label: dict[str, Any] = {
            "from_name": "label",
            "type": "labels",
            "value": at | {"labels": [one.label]},
        }
        if entity.score is not None:
            label["score"] = entity.score
        notes = [f"{code.system} {code.code}: {code.term}" for code in entity.codes]
        if entity.section is not None:
            notes.append(f"section: {entity.section}")
        if notes:
            label["meta"] = {"text": notes}
        yield region | label
        if words := status_words(entity):
            value = at | {"choices": words}
            yield region | {"from_name": "status", "type": "choices", "value": value}

    def _links(self, result: Result) -> Iterator[dict[str, Any]]:
        for one in result.relations:
            if result.entities[one.head].start is None or result.entities[one.tail].start is None:
                self._lost["relations of ungrounded entities"] += 1
                continue
            self._relations[one.type] = None
            ends = {"from_id": f"e{one.head}", "to_id": f"e{one.tail}"}
            yield {"type": "relation", "direction": "right", "labels": [one.type]} | ends

    def close(self) -> None:
        """End the array, and write the configuration with the labels that occurred."""
        self._file.write(b"[]\n" if self._between == "[\n" else b"\n]\n")
        lines = [
            "<View>",
            '  <Labels name="label" toName="text">',
            *(f"    <Label value={quoteattr(label)}/>" for label in sorted(self._labels)),
            "  </Labels>",
            "  <Relations>",
            *(f"    <Relation value={quoteattr(type_)}/>" for type_ in sorted(self._relations)),
            "  </Relations>",
            '  <Text name="text" value="$text"/>',
            '  <Choices name="status" toName="text" perRegion="true" choice="multiple">',
            *(f"    <Choice value={quoteattr(word)}/>" for word in WORDS),
            "  </Choices>",
            "</View>",
        ]
        self._output.file(CONFIGURATION).write(("\n".join(lines) + "\n").encode())
