"""Schemas of the tables, with the descriptions that engines show (``comment``).

``EXTRACTION`` is an Extraction as an Arrow struct: stages pass their results on in it.
"""

from __future__ import annotations

import pyarrow as pa

from pipelines.source.extra_columns import SECTION


def _field(name: str, type_: pa.DataType, description: str, nullable: bool = True) -> pa.Field:
    return pa.field(name, type_, nullable=nullable, metadata={"comment": description})


BOX = pa.struct(
    [
        pa.field("page", pa.int32()),
        *(pa.field(side, pa.float32()) for side in ("x0", "y0", "x1", "y1")),
    ]
)

PAGE_SIZE = pa.struct([pa.field(name, pa.int32()) for name in ("width", "height", "turn")])

_CUE = pa.struct(
    [
        pa.field("attribute", pa.string()),
        pa.field("rule", pa.string()),
        pa.field("start", pa.int64()),
        pa.field("end", pa.int64()),
    ]
)
_ASSERTION = pa.struct(
    [
        *(
            pa.field(name, pa.bool_())
            for name in ("negated", "uncertain", "hypothetical", "historical", "conditional")
        ),
        pa.field("experiencer", pa.string()),
        pa.field("cues", pa.list_(_CUE)),
    ]
)
_CODE = pa.struct(
    [
        *(pa.field(name, pa.string()) for name in ("system", "code", "term")),
        pa.field("score", pa.float64()),
        pa.field("how", pa.string()),
        pa.field("parents", pa.list_(pa.string())),
    ]
)
_CELL = pa.struct(
    [
        *(pa.field(name, pa.int32()) for name in ("row", "column")),
        *(pa.field(name, pa.int64()) for name in ("start", "end")),
    ]
)
_TABLE = pa.struct(
    [
        *(pa.field(name, pa.int32()) for name in ("page", "rows", "columns")),
        pa.field("header", pa.bool_()),
        pa.field("cells", pa.list_(_CELL)),
    ]
)
_FORM_FIELD = pa.struct(
    [
        pa.field("page", pa.int32()),
        pa.field("name", pa.string()),
        *(pa.field(name, pa.int64()) for name in ("label_start", "label_end", "start", "end")),
    ]
)
_MARK = pa.struct([pa.field("kind", pa.string()), pa.field("box", BOX)])
_SLICE = pa.struct(
    [
        *(pa.field(name, pa.string()) for name in ("uri", "version", "format")),
        *(pa.field(name, pa.int64()) for name in ("start", "count")),
    ]
)

_ENTITY_FIELDS = [
    _field("label", pa.string(), "what kind of thing it is", nullable=False),
    _field("text", pa.string(), "its words: text[start:end] of the document, or the model's own"),
    _field("start", pa.int64(), "first code point in the document's text; null when ungrounded"),
    _field("end", pa.int64(), "code point after the last one; null when ungrounded"),
    _field("score", pa.float64(), "probability that the model gives it, 0 to 1"),
    _field("grounding", pa.string(), "exact, normalized, fuzzy or ungrounded", nullable=False),
    _field("boxes", pa.list_(BOX), "places on the pages, in pixels as page_sizes says"),
    _field("ocr_confidence", pa.float32(), "least confidence of the words that were read"),
    _field("attributes", pa.map_(pa.string(), pa.string()), "further facts, such as agreement"),
    _field("model", pa.string(), "the model that found it", nullable=False),
    _field("section", pa.string(), "normalised name of the section of the document it is in"),
    _field("assertion", _ASSERTION, "its status, with the cues; null where no stage decided it"),
    _field("codes", pa.list_(_CODE), "concepts of vocabularies it is linked to, the best first"),
]

ENTITIES = pa.schema(
    [
        _field("doc_id", pa.string(), "id of the document", nullable=False),
        _field("ordinal", pa.int32(), "place in the document's list, from 0", nullable=False),
        _field("source", pa.string(), "URI of the file the document came from", nullable=False),
        *_ENTITY_FIELDS,
    ]
)

_STEP = pa.struct(
    [
        pa.field("model", pa.string()),
        pa.field("status", pa.string()),
        pa.field("error_type", pa.string()),
        pa.field("error_message", pa.string()),
        pa.field("completion", pa.string()),
        pa.field("reasoning", pa.string()),
        pa.field("structured", pa.string()),
        pa.field("problems", pa.list_(pa.string())),
        pa.field("prompt_tokens", pa.int64()),
        pa.field("unknown_tokens", pa.int64()),
        pa.field("completion_tokens", pa.int64()),
        pa.field("seconds", pa.float64()),
        pa.field("fingerprint", pa.string()),
        pa.field("copied", pa.bool_()),
    ]
)

DOCUMENTS = pa.schema(
    [
        _field("doc_id", pa.string(), "id of the document, unique in a run", nullable=False),
        _field("source", pa.string(), "URI of the file it came from", nullable=False),
        _field("source_version", pa.string(), "version of that file when it was listed"),
        _field("source_row", pa.int64(), "row in that file, from 0", nullable=False),
        _field("status", pa.string(), "ok, truncated or failed: the worst step", nullable=False),
        _field("error_type", pa.string(), "kind of the first failure; empty when there is none"),
        _field("error_message", pa.string(), "what went wrong, without any text of the document"),
        _field("text", pa.string(), "what offsets refer to; null where it could not be read"),
        _field(
            "original_hash",
            pa.string(),
            "BLAKE2b-128 of what the source has, where text is what is visible of its markup",
        ),
        _field(
            "problems",
            pa.list_(pa.string()),
            "what of its markup or Word document text does not have; those of models and OCR are "
            "in steps",
        ),
        _field("entity_count", pa.int32(), "rows of this document in entities", nullable=False),
        _field("steps", pa.list_(_STEP), "what each model of the pipeline did with it"),
        _field(
            "content_hash",
            pa.string(),
            "BLAKE2b-128 of text (of a picture: its bytes) and own prompt",
        ),
        _field("pages", pa.int32(), "pages of an image document"),
        _field(
            "page_sizes",
            pa.list_(PAGE_SIZE),
            "of every page: the pixels that boxes are measured in (EXIF orientation applied, PDF "
            "as rendered), and the degrees clockwise that make its text upright",
        ),
        _field(
            "tables",
            pa.list_(_TABLE),
            "tables of its pages: their rows and columns, whether the first row is a header, and "
            "the cells with text, by row and column from 0",
        ),
        _field(
            "fields",
            pa.list_(_FORM_FIELD),
            "filled fields of forms on its pages: the name, the label, and the value [start, end)",
        ),
        _field(
            "marks",
            pa.list_(_MARK),
            "stamps, signatures and handwriting on its pages, with their boxes",
        ),
        _field("sections", pa.list_(SECTION), "its sections, in the order of the text"),
        _field("finished_at", pa.timestamp("us", tz="UTC"), "when its unit was written"),
    ]
)

RELATIONS = pa.schema(
    [
        _field("doc_id", pa.string(), "id of the document", nullable=False),
        _field("head", pa.int32(), "ordinal of the first entity", nullable=False),
        _field("tail", pa.int32(), "ordinal of the second entity", nullable=False),
        _field("type", pa.string(), "what links them", nullable=False),
        _field("score", pa.float64(), "probability that the method gives it, 0 to 1"),
        _field("how", pa.string(), "the method that found it"),
        _field(
            "attributes", pa.map_(pa.string(), pa.string()), "normalised reading: value, unit, ..."
        ),
        _field("source", pa.string(), "URI of the file the document came from", nullable=False),
    ]
)

_PLACE = pa.struct(
    [
        *(pa.field(name, pa.int64()) for name in ("start", "end")),
        *(pa.field(name, pa.string()) for name in ("category", "policy")),
    ]
)
_EDIT = pa.struct(
    [
        *(pa.field(name, pa.int64()) for name in ("start", "end", "new_start", "new_end")),
        *(pa.field(name, pa.string()) for name in ("category", "policy")),
    ]
)
_COUNT = pa.struct(
    [
        *(pa.field(name, pa.string()) for name in ("category", "policy")),
        pa.field("count", pa.int64()),
    ]
)
_RESIDUE = pa.struct([pa.field(name, pa.string()) for name in ("category", "by")])
_RESIDUE_PLACE = pa.struct([*(pa.field(name, pa.int64()) for name in ("start", "end")), *_RESIDUE])
_NEW_ID = _field("doc_id", pa.string(), "id of the de-identified document", nullable=False)

DEIDENTIFIED_DOCUMENTS = pa.schema(
    [
        _NEW_ID,
        _field("status", pa.string(), "ok, residue or failed", nullable=False),
        _field("error_type", pa.string(), "why it failed; empty if it did not"),
        _field("patient", pa.string(), "keyed hash of the patient's id; null if unknown"),
        _field("text", pa.string(), "the text without identifiers; null if none may leave"),
        _field(
            "page_file",
            pa.string(),
            "of an image document, with `deidentify.pages`: the file of its pages with identifiers "
            "covered, below the folder deidentified; null if none may leave",
        ),
        _field("entity_count", pa.int32(), "rows of it in deidentified/entities", nullable=False),
        _field("replaced", pa.list_(_PLACE), "what stands in place of identifiers, and where"),
        _field("counts", pa.list_(_COUNT), "identifiers replaced, by category and policy"),
        _field("residue", pa.list_(_RESIDUE), "what the second look still found"),
        _field("sections", pa.list_(SECTION), "its sections, in the order of the text"),
    ]
)

DEIDENTIFIED_ENTITIES = pa.schema(
    [_NEW_ID]
    # Neither the file nor places on its pages: those are the original's.
    + [f for f in ENTITIES if f.name not in ("doc_id", "source", "boxes")]
)

DEIDENTIFIED_RELATIONS = pa.schema(
    [_NEW_ID] + [f for f in RELATIONS if f.name not in ("doc_id", "source")]
)

REIDENTIFICATION = pa.schema(
    [
        _field("doc_id", pa.string(), "id of the original document", nullable=False),
        _field("deidentified_id", pa.string(), "id in the de-identified tables", nullable=False),
        _field("edits", pa.list_(_EDIT), "places of each identifier and of its replacement"),
        _field(
            "residue",
            pa.list_(_RESIDUE_PLACE),
            "where in the original there is residue; without a place where OCR read it on a "
            "covered page",
        ),
    ]
)

_PROVENANCE = [
    _field("run_id", pa.string(), "the run that wrote the row", nullable=False),
    _field("unit", pa.string(), "the unit of work it belongs to; see units", nullable=False),
]

UNITS = pa.schema(
    [
        _field("run_id", pa.string(), "the run", nullable=False),
        _field("number", pa.int64(), "number of the run's commit, from 1", nullable=False),
        _field("unit", pa.string(), "the unit; null in the row that describes the run itself"),
        _field("identity", pa.string(), "of all that decides the unit's rows"),
        _field("documents", pa.int64(), "rows of documents"),
        _field("failed", pa.int64(), "of these, failed ones"),
        _field("entities", pa.int64(), "rows of entities"),
        _field("failures", pa.map_(pa.string(), pa.int64()), "failed documents by error type"),
        _field("slices", pa.list_(_SLICE), "rows of versions of source files that it covers"),
        _field("committed_at", pa.timestamp("us", tz="UTC"), "of the run's row: when it counted"),
        _field("facts", pa.string(), "of the run's row: configuration, counts, timing, as JSON"),
    ]
)
"""The ledger: a row a live unit and a row a run. Committed last, it makes a run count."""

# Provenance before all that is nested: delta-rs 1.6 reads no statistics of columns behind a struct.
DATA: dict[str, pa.Schema] = {
    name: pa.schema([columns[0], *_PROVENANCE, *list(columns)[1:]])
    for name, columns in (
        ("documents", DOCUMENTS),
        ("entities", ENTITIES),
        ("relations", RELATIONS),
        ("deidentified/documents", DEIDENTIFIED_DOCUMENTS),
        ("deidentified/entities", DEIDENTIFIED_ENTITIES),
        ("deidentified/relations", DEIDENTIFIED_RELATIONS),
        ("reidentification", REIDENTIFICATION),
    )
}
"""The tables of results, in the order of their commits, with where each row comes from."""

OF_DEIDENTIFICATION = frozenset(
    {
        "deidentified/documents",
        "deidentified/entities",
        "deidentified/relations",
        "reidentification",
    }
)
"""Tables that a sink only has if a pipeline with the stage ``deidentify`` wrote to it."""

STATISTICS = {
    "documents": ("doc_id", "source", "status", "run_id", "unit"),
    "entities": ("doc_id", "label", "source", "run_id", "unit"),
    "relations": ("doc_id", "type", "source", "run_id", "unit"),
    "deidentified/documents": ("doc_id", "status", "patient", "run_id", "unit"),
    "deidentified/entities": ("doc_id", "label", "run_id", "unit"),
    "deidentified/relations": ("doc_id", "type", "run_id", "unit"),
    "reidentification": ("doc_id", "deidentified_id", "run_id", "unit"),
    "units": ("run_id", "number", "unit"),
}
"""Columns with minimum and maximum in the log, so that readers skip files. Never one that holds
text of documents."""

EXTRACTION = pa.struct(
    [
        pa.field("step", _STEP),
        pa.field("entities", pa.list_(pa.struct(_ENTITY_FIELDS))),
    ]
)
