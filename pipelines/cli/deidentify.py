"""``medspan deidentify``: remove the identifiers from one note or scan, in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from actors.extras import optional_imports
from actors.spans import Annotations, Document, Entity
from pipelines.deidentification import secret_from_environment

if TYPE_CHECKING:
    from actors.config.deidentify import Deidentify
    from actors.deidentify import Deidentified, Deidentifier, Residue
    from actors.deidentify.page_marks import TakenMark
    from actors.extractor import Extractor
    from actors.pages import DecodeLimits, OcrResult


def deidentify(
    file: Annotated[Path, typer.Argument(help="A text, image, PDF or DICOM file.")],
    config: Annotated[
        Path | None, typer.Option(help="A YAML file of policies; default: HIPAA Safe Harbor.")
    ] = None,
    patient: Annotated[
        str | None,
        typer.Option(help="Patient id that surrogates and dates depend on; default: the content."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="A model that also finds names; repeatable. Default: rules only."
        ),
    ] = None,
    ocr: Annotated[str, typer.Option(help="OCR model for images: a model file or starter:ocr.")] = (
        "starter:ocr"
    ),
    out: Annotated[Path | None, typer.Option(help="Output path of a de-identified image.")] = None,
    print_surrogates: Annotated[
        bool,
        typer.Option(
            help="Print surrogates, shifted dates and generalised values on the picture, where the "
            "words stood. Not in DICOM."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Text, edits, counts and residue as JSON.")
    ] = False,
) -> None:
    """Remove the identifiers from a text, image, PDF or DICOM file.

    Surrogates, hashes and date shifts are derived from the secret in MEDSPAN_DEIDENTIFY_KEY.
    """
    from actors.config import ConfigError
    from actors.config.ocr import load_ocr
    from actors.pages import DecodeLimits, PageError, page_format

    with optional_imports("medspan deidentify"):
        from actors.deidentify import Deidentifier
        from actors.deidentify.keys import SecretKey

    content = file.read_bytes()
    key, settings = secret_from_environment(), _config(config)
    try:
        deidentifier = Deidentifier(settings, key)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    kind = page_format(content)
    if kind is not None and out is None:
        raise typer.BadParameter("an image needs --out, the path of the de-identified file")
    if kind == "dicom" and print_surrogates:
        raise typer.BadParameter("--print-surrogates is not supported for DICOM files")
    limits = DecodeLimits.of(load_ocr(ocr).pages) if kind is not None else DecodeLimits()
    document, reading = _read(file, content, ocr)
    if reading is not None:
        reading = _with_bar_codes(file, content, reading, limits, settings)
    with _loaded(model or []) as models:
        from actors.deidentify.page_marks import taken_marks

        again = models if settings.second_look == "models" else []
        marks = () if reading is None else taken_marks(reading, settings)
        patient = patient or _digest(content)
        done = _applied(deidentifier, document, patient, marks, models, again)
        if done.text is not None and reading is not None and out is not None:
            from actors.deidentify.page_again import page_again
            from actors.deidentify.page_redaction import burnt
            from actors.deidentify.patches import patches_of

            patches = patches_of(reading, done.text, done.map, marks)
            try:
                picture, _ = burnt(
                    content,
                    patches,
                    limits=limits,
                    key=None if key is None else SecretKey(key),
                    printed=print_surrogates,
                )
            except (PageError, ValueError) as error:
                _fail(f"{file}: {error}")
            _, covered = _read(file, picture, ocr)
            assert covered is not None  # it is a picture
            page = page_again(covered, patches, print_surrogates)
            found = _found(again, page.text)
            _report_page(
                deidentifier.page_residue(reading.text, done.map.edits, page, found), settings
            )
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
        raise typer.BadParameter("an image needs OCR to find the words to redact")
    read = read_pictures([Document(id=str(file), image=content)], ocr)
    for failure in read.failures.values():
        _fail(f"{file}: {failure.type}: {failure.message}")
    return read.documents[0], read.readings[str(file)]


def _with_bar_codes(
    file: Path, content: bytes, reading: OcrResult, limits: DecodeLimits, settings: Deidentify
) -> OcrResult:
    from actors.deidentify.page_marks import with_bar_codes
    from actors.pages import PageError

    try:
        return with_bar_codes(content, reading, limits, settings)
    except PageError as error:
        _fail(f"{file}: {error}")


@contextmanager
def _loaded(references: list[str]) -> Iterator[list[Extractor]]:
    from actors.extractor import load_extractor

    with ExitStack() as loaded:
        yield [loaded.enter_context(load_extractor(reference)) for reference in references]


def _applied(
    deidentifier: Deidentifier,
    document: Document,
    patient: str,
    marks: Sequence[TakenMark],
    models: list[Extractor],
    again: list[Extractor],
) -> Deidentified:
    """De-identify what the models read; the models in ``again`` read the result as a second
    look."""
    text = document.text or ""
    found = Annotations(_found(models, text))
    done = deidentifier.apply(text, found, patient, marks=marks)
    if done.text is not None and again:
        done = deidentifier.second_look(done, _found(again, done.text))
    return done


def _report_page(residue: Sequence[Residue], settings: Deidentify) -> None:
    """Say what the second look still reads on the page; end, unless the configuration lets it
    pass."""
    if not residue:
        return
    found = ", ".join(sorted({f"{one.category} by {one.by}" for one in residue}))
    if settings.residue == "fail":
        _fail(f"the second look reads {found} on the covered page; nothing is written")
    _warn(f"the second look reads {found} on the covered page; it is written all the same")


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
        _warn(f"the second look finds {found}; {what}")


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


def _warn(message: str) -> None:
    Console(stderr=True, highlight=False).print(f"[red]medspan:[/] {message}", soft_wrap=True)


def _fail(message: str) -> NoReturn:
    _warn(message)
    raise typer.Exit(1)
