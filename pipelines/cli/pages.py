"""``medspan pages``: what was read of images and PDFs, for other tools."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from actors.spans import Document, Failure

if TYPE_CHECKING:
    from actors.pages import DecodeLimits, OcrResult

app = typer.Typer(no_args_is_help=True)


class PageFormat(StrEnum):
    """Format of the exported files."""

    PDF = "searchable-pdf"
    HOCR = "hocr"
    ALTO = "alto"


_ENDINGS = {PageFormat.PDF: ".pdf", PageFormat.HOCR: ".hocr", PageFormat.ALTO: ".alto.xml"}


@app.callback()
def _pages() -> None:
    """Export the OCR results of images and PDFs for other tools."""


@app.command()
def export(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Images, PDF or DICOM.")],
    to: Annotated[PageFormat, typer.Option("--to", help="Format of the exported files.")],
    out: Annotated[Path, typer.Option(help="Folder of the exported files; created if absent.")],
    ocr: Annotated[str, typer.Option(help="OCR model: a model file or starter:ocr.")] = (
        "starter:ocr"
    ),
) -> None:
    """Write each file as a searchable PDF, hOCR or ALTO. The results contain patients' text."""
    from actors.config.ocr import load_ocr
    from actors.ocr import OcrReader
    from actors.pages import DecodeLimits, PageError

    targets = _targets(files, out, _ENDINGS[to])
    console, errors = Console(highlight=False), Console(stderr=True)
    config = load_ocr(ocr)
    failed = False
    out.mkdir(parents=True, exist_ok=True)
    with OcrReader(config) as reader:
        # One file at a time: the pages of one are enough to occupy the CPUs, and no other's wait.
        for file, target in zip(files, targets, strict=True):
            content = file.read_bytes()
            [read] = reader.read([Document(str(file), image=content)])
            if not isinstance(read, Failure):
                try:
                    _write(to, content, read, file, target, DecodeLimits.of(config.pages))
                except PageError as error:
                    read = Failure(type(error).__name__, str(error))
            if isinstance(read, Failure):
                failed = True
                errors.print(f"[red]{escape(str(file))}: {read.type}:[/]", escape(read.message))
                continue
            console.print(escape(str(target)), soft_wrap=True)
            for problem in read.problems:
                errors.print("[yellow]ocr:[/]", escape(problem), highlight=False)
    if failed:
        raise typer.Exit(1)


def _targets(files: Sequence[Path], out: Path, ending: str) -> list[Path]:
    """Return the output path of each file; fail before any work if one cannot be written."""
    for file in files:
        if not file.is_file():
            raise typer.BadParameter(f"{file}: no such file")
    targets = [out / (file.stem + ending) for file in files]
    for target, count in Counter(targets).items():
        if count > 1:
            raise typer.BadParameter(
                f"{count} files would be written to {target}; export them to different folders"
            )
    sources = {file.resolve() for file in files}
    for target in targets:
        if target.resolve() in sources:
            raise typer.BadParameter(f"{target} would overwrite an input; choose another folder")
    return targets


def _write(
    to: PageFormat, content: bytes, read: OcrResult, file: Path, target: Path, limits: DecodeLimits
) -> None:
    """Write the file whole or not at all."""
    from actors.pages.export import write_alto, write_hocr, write_searchable_pdf

    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        if to is PageFormat.PDF:
            with partial.open("wb") as pdf:
                write_searchable_pdf(content, read, limits, pdf)
        else:
            write = write_hocr if to is PageFormat.HOCR else write_alto
            with partial.open("w", encoding="utf-8", newline="\n") as text:
                write(read, file.name, text)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
