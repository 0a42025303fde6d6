"""``medspan deidentify``: remove the identifiers from one note or scan, in this process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from actors.extras import optional_imports
from actors.spans import Annotations, Document, Entity
from pipelines.deidentification import secret_from_environment

if TYPE_CHECKING:
    from actors.config.deidentify import Deidentify
    from actors.deidentify import Deidentified, Deidentifier
    from actors.extractor import Extractor
    from actors.pages import OcrResult


def deidentify(
    file: Annotated[Path, typer.Argument(help="A text, picture, PDF or DICOM file.")],
    config: Annotated[
        Path | None, typer.Option(help="A YAML file of policies; default: HIPAA's safe harbour.")
    ] = None,
    patient: Annotated[
        str | None,
        typer.Option(
            help="Whose surrogates and date shift are used; default: the content of the file."
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="A model that finds names too; may be repeated. Default: rules."
        ),
    ] = None,
    ocr: Annotated[str, typer.Option(help="What reads pictures: a model file or starter:ocr.")] = (
        "starter:ocr"
    ),
    out: Annotated[
        Path | None, typer.Option(help="Where a picture without identifiers is written.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Text, edits, counts and residue as JSON.")
    ] = False,
) -> None:
    """Remove the identifiers from a text, picture, PDF or DICOM file. Surrogates, hashes and date
    shifts derive from the secret in MEDSPAN_DEIDENTIFY_KEY."""
    from actors.config import ConfigError
    from actors.pages import PageError, page_format

    with optional_imports("medspan deidentify"):
        from actors.deidentify import Deidentifier

    content = file.read_bytes()
    key = secret_from_environment()
    try:
        deidentifier = Deidentifier(_config(config), key)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if page_format(content) is not None and out is None:
        raise typer.BadParameter("a picture needs --out, a path for the one without identifiers")
    document, reading = _read(file, content, ocr)
    done = _applied(deidentifier, document, patient or _digest(content), model or [])
    if done.text is not None and reading is not None and out is not None:
        from actors.config.ocr import load_ocr
        from actors.deidentify.keys import SecretKey
        from actors.deidentify.pages import boxes_of, burnt
        from actors.pages import DecodeLimits

        try:
            limits = DecodeLimits.of(load_ocr(ocr).pages)
            boxes = boxes_of(reading, done.map.edits)
            picture, _ = burnt(
                content, boxes, limits=limits, key=None if key is None else SecretKey(key)
            )
        except (PageError, ValueError) as error:
            _fail(f"{file}: {error}")
        out.write_bytes(picture)
    _show(done, as_json)
    if done.text is None:
        raise typer.Exit(1)


def _config(path: Path | None) -> Deidentify:
    from pydantic import TypeAdapter

    from actors.config.deidentify import Deidentify
    from actors.config.load import read_yaml, validate

    if path is None:
        return Deidentify()
    return validate(TypeAdapter(Deidentify), read_yaml(path), path)


def _read(file: Path, content: bytes, ocr: str) -> tuple[Document, OcrResult | None]:
    from actors.pages import page_format
    from pipelines.cli.read_pictures import read_pictures

    if page_format(content) is None:
        try:
            return Document(id=str(file), text=content.decode("utf-8")), None
        except UnicodeDecodeError as error:
            raise typer.BadParameter(f"{file}: not valid UTF-8 at byte {error.start}") from None
    if ocr == "none":
        raise typer.BadParameter("a picture must be read to find what is to be burnt out")
    read = read_pictures([Document(id=str(file), image=content)], ocr)
    for failure in read.failures.values():
        _fail(f"{file}: {failure.type}: {failure.message}")
    return read.documents[0], read.readings[str(file)]


def _applied(
    deidentifier: Deidentifier, document: Document, patient: str, references: list[str]
) -> Deidentified:
    """The models read the text and, as a second look, the result."""
    from contextlib import ExitStack

    from actors.extractor import load_extractor

    with ExitStack() as loaded:
        models = [loaded.enter_context(load_extractor(reference)) for reference in references]
        text = document.text or ""
        annotations = Annotations(_found(models, text))
        done = deidentifier.apply(text, annotations, patient)
        if done.text is not None and models:
            done = deidentifier.second_look(done, _found(models, done.text))
        return done


def _found(models: list[Extractor], text: str) -> tuple[Entity, ...]:
    from actors.merge import merge

    extractions = [model.extract([Document(id="text", text=text)])[0] for model in models]
    for extraction in extractions:
        if extraction.failure is not None:
            # Without its names the text would look clean.
            _fail(f"{extraction.model}: {extraction.failure.type}: {extraction.failure.message}")
    return tuple(merge([extraction.entities for extraction in extractions]))


def _digest(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def _show(done: Deidentified, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_as_json(done), ensure_ascii=False))
    elif done.text is not None:
        sys.stdout.write(done.text)
    if done.residue:
        places = done.residue_in_original
        found = ", ".join(f"{r.category} at {r.start} by {r.by}" for r in places)
        what = "no text comes out" if done.text is None else "the text comes out all the same"
        Console(stderr=True, highlight=False).print(
            f"[red]medspan:[/] the second look finds {found}; {what}", soft_wrap=True
        )


def _as_json(done: Deidentified) -> dict[str, Any]:
    return {
        "text": done.text,
        "edits": [
            {
                "start": edit.start,
                "end": edit.end,
                "new_start": edit.new_start,
                "new_end": edit.new_end,
                "category": edit.category,
                "policy": edit.policy,
            }
            for edit in done.map.edits
        ],
        "counts": [
            {"category": category, "policy": policy, "count": count}
            for (category, policy), count in sorted(done.counts.items())
        ],
        "residue": [
            {"start": r.start, "end": r.end, "category": r.category, "by": r.by}
            for r in done.residue_in_original
        ],
    }


def _fail(message: str) -> None:
    Console(stderr=True, highlight=False).print(f"[red]medspan:[/] {message}", soft_wrap=True)
    raise typer.Exit(1)
