"""``medspan annotations``: annotated documents of any format as JSONL."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from pipelines.cli.errors import show_error
from pipelines.exchange.formats import GoldFormat


def annotated(
    source: Annotated[
        str,
        typer.Argument(
            help="A file or folder of annotated documents: JSONL, CoNLL, brat, Label Studio's "
            "JSON, or spaCy's DocBin."
        ),
    ],
    out: Annotated[str, typer.Option(help="The JSONL file to write; it must not exist.")],
    source_format: Annotated[
        GoldFormat | None, typer.Option("--format", help="Default: by the suffix of the files.")
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Maximum number of documents: the shortest that cover every label, for a prompt.",
        ),
    ] = None,
) -> None:
    """Write annotated documents as JSONL: `examples` of a guideline, or texts for training."""
    from pipelines.evaluate import GoldError
    from pipelines.exchange.annotations import as_line, few
    from pipelines.exchange.export_files import ExportFiles
    from pipelines.exchange.exporter import ExportError
    from pipelines.exchange.gold_formats import read_gold

    console = Console(highlight=False)
    try:
        read = read_gold(source, source_format)
        documents = list(read.documents.values())
        if n is not None:
            documents = few(documents, n)
        with ExportFiles(out) as output:
            output.file().writelines(map(as_line, documents))
    except (ExportError, GoldError) as error:
        show_error(error)
        raise typer.Exit(2) from error
    console.print(escape(f"{len(documents):,} documents in {out}"), soft_wrap=True)
    for what, count in read.notes.most_common():
        console.print(escape(f"{count:,} {what}"), soft_wrap=True)
