"""``medspan extract``: entities of a text or file, in this process or from a server; no Ray."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from actors.spans import Document, Entity, Extraction, Status

if TYPE_CHECKING:
    from actors.config.merge import Merge


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
        typer.Option("--file", "-f", help="A text, image or PDF file; repeatable."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="A model file or starter:<name>; repeatable."),
    ] = None,
    ocr: Annotated[
        str,
        typer.Option(
            help="OCR model for images: a model file, starter:ocr, or none to pass images only to "
            "vision models."
        ),
    ] = "starter:ocr",
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
            "read locally first, or sent as they are with --ocr none."
        ),
    ] = None,
) -> None:
    """Extract the entities of a text or of files."""
    from pydantic import ValidationError

    from actors.config.merge import Merge
    from actors.pages import place
    from pipelines.cli.pictures import read_pictures

    if as_json or highlight:
        form = Form.JSON if as_json else Form.HIGHLIGHT
    try:
        policy = Merge.model_validate({"overlaps": overlaps})
    except ValidationError as error:
        raise typer.BadParameter("must be longest, score, priority or all") from error
    read = read_pictures(_documents(text, file or []), ocr)
    documents = read.documents
    if url is None:
        found = _extract_locally(documents, model or ["starter:token-classifier"], policy)
    else:
        found = _extract_remotely(url, documents, model or [])
    failed = bool(read.failures)
    for id_, failure in read.failures.items():
        Console(stderr=True).print(f"[red]{id_}: {failure.type}:[/] {failure.message}")
    for document, (extractions, entities) in zip(documents, found, strict=True):
        if document.id in read.readings:
            entities = place(entities, read.readings[document.id])
        _show(document, extractions, entities, form, len(documents) > 1)
        failed = failed or any(e.status is Status.FAILED for e in extractions)
    if failed:
        raise typer.Exit(1)


_Found = tuple[list[Extraction], list[Entity]]


def _extract_locally(documents: list[Document], models: list[str], policy: Merge) -> list[_Found]:
    from actors.extractor import load_extractor
    from actors.merge import merge

    read: list[list[Extraction]] = []
    for reference in models:
        with load_extractor(reference) as extractor:
            read.append(extractor.extract(documents))
    return [
        (list(extractions), merge([e.entities for e in extractions], policy.overlaps))
        for extractions in zip(*read, strict=True)
    ]


def _extract_remotely(url: str, documents: list[Document], models: list[str]) -> list[_Found]:
    from pipelines.client import Client, ServerRefused, ServerUnreachable

    if len(models) > 1:
        raise typer.BadParameter("--url takes one name: a model or the pipeline")
    try:
        with Client(url, os.environ.get("MEDSPAN_TOKEN")) as client:
            answers = client.extract(documents, models[0] if models else None, explain=True)
    except (ServerRefused, ServerUnreachable) as error:
        Console(stderr=True, highlight=False).print(f"[red]medspan:[/] {error}", soft_wrap=True)
        raise typer.Exit(1) from error
    return [(list(answer.steps), list(answer.entities)) for answer in answers]


def _documents(text: str | None, files: list[Path]) -> list[Document]:
    if text is not None and text != "-" and files:
        raise typer.BadParameter("give either a text or files, not both")
    if files:
        return [_document(path) for path in files]
    if text is not None and (picture := _picture(text)) is not None:
        return [picture]
    if text is None or text == "-":
        return [Document(id="stdin", text=_decoded(sys.stdin.buffer.read(), "stdin"))]
    return [Document(id="text", text=text)]


def _picture(text: str) -> Document | None:
    """The image or PDF at this path; None if the argument is plain text."""
    try:
        path = Path(text)
        document = _document(path) if path.is_file() else None
    except (OSError, ValueError, typer.BadParameter):
        return None
    return document if document is not None and document.image is not None else None


def _document(path: Path) -> Document:
    from actors.pages import kind_of

    content = path.read_bytes()
    if kind_of(content) is not None:
        return Document(id=str(path), image=content)
    return Document(id=str(path), text=_decoded(content, str(path)))


def _decoded(content: bytes, where: str) -> str:
    # Not read_text(): universal newlines would move every offset after a CRLF.
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{where}: not valid UTF-8 at byte {error.start}") from None


def _show(
    document: Document,
    extractions: list[Extraction],
    entities: list[Entity],
    form: Form,
    named: bool,
) -> None:
    from pipelines.terminal import entity_table, highlighted

    console = Console()
    if form is Form.JSON:
        print(json.dumps(_as_json(document, extractions, entities), ensure_ascii=False))
        return
    if named:
        console.rule(document.id)
    if document.image is not None and document.text is not None and form is Form.TABLE:
        console.print(document.text, markup=False, highlight=False)
    for extraction in extractions:
        if extraction.failure is not None:
            failure = extraction.failure
            console.print(f"[red]{extraction.model}: {failure.type}:[/] {failure.message}")
        elif extraction.status is Status.TRUNCATED:
            console.print(f"[yellow]{extraction.model}: truncated; complete entities are kept[/]")
        for problem in extraction.problems:
            console.print(f"[yellow]{extraction.model}:[/] {problem}", highlight=False)
        if extraction.completion is not None and not extraction.entities:
            console.print(extraction.completion, markup=False, highlight=False)
    if form is Form.HIGHLIGHT:
        colour = console.is_terminal and not console.no_color
        console.print(highlighted(document.text or "", entities, colour=colour), soft_wrap=True)
    else:
        console.print(entity_table(entities))


def _as_json(
    document: Document, extractions: list[Extraction], entities: list[Entity]
) -> dict[str, Any]:
    from pipelines.lake.schema import entity_row, extraction_row

    read = {} if document.image is None else {"text": document.text}
    return {
        "id": document.id,
        **read,
        "entities": [entity_row(e) | {"attributes": dict(e.attributes)} for e in entities],
        "steps": [extraction_row(e)["step"] | _choices(e) for e in extractions],
    }


def _choices(extraction: Extraction) -> dict[str, Any]:
    """Token alternatives, if sampling.n_probs asks for them."""
    if not extraction.choices:
        return {}
    return {"choices": [dataclasses.asdict(choice) for choice in extraction.choices]}
