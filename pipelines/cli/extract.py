"""``medspan extract``: entities of a text or file, in this process or from a server; no Ray."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from enum import Enum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from actors.spans import Annotations, Document, Extraction, Failure, PageMark, Status
from pipelines.cli.errors import show_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.config.merge import Merge
    from pipelines.cli.read_pictures import Pictures
    from pipelines.stages import Stage

_MOST_INFLATED = 1_000_000_000


class Form(StrEnum):
    """Output format."""

    TABLE = "table"
    JSON = "json"
    HIGHLIGHT = "highlight"


def extract(
    text: Annotated[
        str | None,
        typer.Argument(
            help="Text, or the path of an image or PDF; '-' or nothing reads standard input."
        ),
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(
            "--file",
            "-f",
            help="A text, Word, image or PDF file; repeatable. A text may be compressed, and may "
            "be HTML, RTF, C-CDA, FHIR or HL7 v2.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="A model file or starter:<name>; repeatable."),
    ] = None,
    pipeline: Annotated[
        Path | None,
        typer.Option(
            "--pipeline",
            "-p",
            help="A pipeline file: its models, merge, context, relations and linking, instead of "
            "--model and --overlaps.",
        ),
    ] = None,
    ocr: Annotated[
        str | None,
        typer.Option(
            help="OCR model for images: a model file, starter:ocr (the default), or none to pass "
            "images only to vision models. With --url the server reads images, unless this is set."
        ),
    ] = None,
    overlaps: Annotated[
        str, typer.Option(help="Overlap policy for several models: longest, score, priority, all.")
    ] = "all",
    form: Annotated[Form, typer.Option("--form", help="Output format.")] = Form.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="Same as --form json.")] = False,
    highlight: Annotated[
        bool, typer.Option("--highlight", help="Same as --form highlight.")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(
            help="Use a `medspan serve` server; its token comes from MEDSPAN_TOKEN. Images are "
            "sent to it as they are."
        ),
    ] = None,
) -> None:
    """Extract the entities of a text or of files."""
    from pydantic import ValidationError

    from actors.config.merge import Merge
    from pipelines.cli.read_pictures import read_pictures

    if as_json or highlight:
        form = Form.JSON if as_json else Form.HIGHLIGHT
    try:
        policy = Merge.model_validate({"overlaps": overlaps})
    except ValidationError as error:
        raise typer.BadParameter("must be longest, score, priority or all") from error
    if pipeline is not None and (model or url):
        raise typer.BadParameter("pass only one of --pipeline, --model and --url")
    given = _documents(text, file or [])
    read = read_pictures(
        [document for document, _ in given], ocr or ("starter:ocr" if url is None else "none")
    )
    if url is None:
        found = _extract_locally(read, *_stages(model, pipeline, policy))
    else:
        found = _extract_remotely(url, read.documents, model or [])
    verbatim = {document.id for document, as_given in given if as_given}
    failures = read.failures | {one.id: one.failure for one in found if one.failure is not None}
    for id_, failure in failures.items():
        name = f"[red]{escape(id_)}: {failure.type}:[/]"
        Console(stderr=True).print(name, escape(failure.message))
    failed = bool(failures)
    for one in found:
        if one.failure is None:
            _show(one, form, len(found) > 1, one.id not in verbatim)
        failed = failed or any(e.status is Status.FAILED for e in one.steps)
    if failed:
        raise typer.Exit(1)


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    """Results of a document; ``problems`` of reading it, and ``marks`` of its pages, if any."""

    id: str
    text: str | None
    steps: Sequence[Extraction]
    annotations: Annotations
    failure: Failure | None = None
    problems: tuple[str, ...] = ()
    marks: tuple[PageMark, ...] = ()


def _stages(
    models: list[str] | None, pipeline: Path | None, policy: Merge
) -> tuple[tuple[Stage, ...], Merge]:
    """The stages of a pipeline file, or of the models plus context and relations."""
    from actors.config import load_model
    from actors.config.context import Context
    from actors.config.relations import Relations
    from pipelines.config import load_pipeline
    from pipelines.pool import Pool
    from pipelines.stages import Stage

    if pipeline is not None:
        loaded = load_pipeline(pipeline)
        return loaded.models + tuple(s for s in loaded.stages if s.pool is None), (
            loaded.pipeline.merge
        )
    configs = [load_model(reference) for reference in models or ["starter:token-classifier"]]
    stages = [Stage(config.name, config, Pool()) for config in configs]
    refining = (
        Stage("context", Context.model_validate({}), None),
        Stage("relations", Relations.model_validate({}), None),
    )
    return (*stages, *refining), policy


def _extract_locally(read: Pictures, stages: Sequence[Stage], policy: Merge) -> list[_Found]:
    from actors.extractor import Extractor
    from pipelines.refine import annotate, refiner

    refine = refiner(stages)
    by_model: list[list[Extraction]] = []
    for stage in stages:
        if stage.pool is not None:
            with Extractor(stage.model) as extractor:
                by_model.append(extractor.extract(read.documents))
    found = []
    for one, steps in zip(read.documents, zip(*by_model, strict=True), strict=True):
        reading = read.readings.get(one.id)
        annotations = annotate(one.text, steps, policy, refine, one.sections, reading)
        made = _Found(one.id, one.text, steps, annotations, problems=one.problems)
        if reading is not None:
            made = dataclasses.replace(made, problems=reading.problems, marks=reading.marks)
        found.append(made)
    return found


def _extract_remotely(url: str, documents: list[Document], models: list[str]) -> list[_Found]:
    from pipelines.client import Client, ServerRefused, ServerUnreachable

    if len(models) > 1:
        raise typer.BadParameter("--url takes one --model: the name of a model or of the pipeline")
    try:
        with Client(url, os.environ.get("MEDSPAN_TOKEN")) as client:
            answers = client.extract(documents, models[0] if models else None, explain=True)
    except (ServerRefused, ServerUnreachable) as error:
        show_error(error)
        raise typer.Exit(1) from error
    return [
        _Found(
            answer.document_id,
            answer.text,
            answer.steps,
            Annotations(
                answer.entities,
                answer.sections,
                answer.relations,
                answer.abbreviations,
                answer.tables,
                answer.fields,
            ),
            answer.failure,
            answer.problems,
            answer.marks,
        )
        for answer in answers
    ]


def _documents(text: str | None, files: list[Path]) -> list[tuple[Document, bool]]:
    """The documents, and of each whether its text is what was given: not that of an image, of
    markup, or of a compressed file."""
    if text is not None and text != "-" and files:
        raise typer.BadParameter("pass either a text or --file, not both")
    if files:
        return [_document(str(path), path.read_bytes()) for path in files]
    if text is not None and (picture := _picture(text)) is not None:
        return [(picture, False)]
    if text is None or text == "-":
        return [_document("stdin", sys.stdin.buffer.read())]
    return [(Document(id="text", text=text), True)]


def _picture(text: str) -> Document | None:
    """The image or PDF at this path; None if the argument is plain text."""
    from actors.pages import page_format

    try:
        path = Path(text)
        content = path.read_bytes() if path.is_file() else b""
    except (OSError, ValueError):
        return None
    return Document(id=str(path), image=content) if page_format(content) is not None else None


def _document(name: str, content: bytes) -> tuple[Document, bool]:
    from actors.pages import page_format
    from pipelines.text.errors import BadFileError, BadMarkupError
    from pipelines.text.files import read_file

    if page_format(content) is not None:
        return Document(id=name, image=content), False
    try:
        read = read_file(content, _MOST_INFLATED, "1 GB")
    except (BadFileError, BadMarkupError) as error:
        raise typer.BadParameter(f"{name}: {error}") from None
    document = Document(id=name, text=read.text, sections=read.sections, problems=read.problems)
    return document, read.text.encode() == content


def _show(found: _Found, form: Form, named: bool, unseen: bool) -> None:
    """``unseen``: the user does not have the text that offsets refer to, so it is shown."""
    from pipelines.terminal import entity_table, highlighted

    console = Console()
    if form is Form.JSON:
        print(json.dumps(_as_json(found, unseen), ensure_ascii=False))
        return
    if named:
        console.rule(found.id)
    for problem in found.problems:
        console.print("[yellow]read:[/]", escape(problem), highlight=False)
    if unseen and found.text is not None and form is Form.TABLE:
        console.print(found.text, markup=False, highlight=False)
    for extraction in found.steps:
        if extraction.failure is not None:
            failure = extraction.failure
            console.print(f"[red]{extraction.model}: {failure.type}:[/]", escape(failure.message))
        elif extraction.status is Status.TRUNCATED:
            console.print(f"[yellow]{extraction.model}: truncated; complete entities are kept[/]")
        for problem in extraction.problems:
            console.print(f"[yellow]{extraction.model}:[/]", escape(problem), highlight=False)
        if extraction.completion is not None and not extraction.entities:
            console.print(extraction.completion, markup=False, highlight=False)
    annotations = found.annotations
    if found.text is not None and not found.text.strip():
        if not found.problems:  # those of a file that was read say so
            console.print("[yellow]the document has no text[/]")
    elif form is Form.HIGHLIGHT:
        colour = console.is_terminal and not console.no_color
        console.print(
            highlighted(found.text or "", annotations.entities, colour=colour), soft_wrap=True
        )
    else:
        console.print(entity_table(annotations.entities, annotations.relations))


def _as_json(found: _Found, unseen: bool) -> dict[str, Any]:
    read: dict[str, Any] = {"text": found.text} if unseen else {}
    return {
        "id": found.id,
        **read,
        "problems": list(found.problems),
        "marks": [{"kind": one.kind, "box": _plain(one.box)} for one in found.marks],
        **_plain(found.annotations),
        "steps": [_step(extraction) for extraction in found.steps],
    }


def _step(extraction: Extraction) -> dict[str, Any]:
    """A step as in the documents table, without the document id, the entities
    and whether it is a copy."""
    step: dict[str, Any] = _plain(extraction)
    for beside in ("document_id", "entities", "copied"):
        del step[beside]
    if not step["choices"]:  # only with sampling.n_probs
        del step["choices"]
    failure = step.pop("failure") or {"type": "", "message": ""}
    step |= {f"error_{key}": value for key, value in failure.items()}
    step.update(step.pop("usage"))
    return step


def _plain(value: Any) -> Any:
    """Convert a value to JSON types: dataclasses to objects, enum members to their values."""
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value.value if isinstance(value, Enum) else value
