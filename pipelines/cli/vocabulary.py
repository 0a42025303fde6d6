"""``medspan vocabulary``: build and describe vocabulary indexes."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(no_args_is_help=True)


@app.command()
def build(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Parquet, CSV or TSV (code, term), RXNCONSO.RRF, MRCONSO.RRF, "
            "sct2_Description_*.txt, OBO, OBO JSON, ICD-10-CM (order file or tabular XML), "
            "Loinc.csv; text also as .gz.",
        ),
    ],
    name: Annotated[str, typer.Option(help="Code system written to the tables, e.g. rxnorm.")],
    version: Annotated[str, typer.Option(help="Release, e.g. 2026-10.")],
    into: Annotated[Path, typer.Option(help="Parent folder of the index NAME-VERSION.")],
    language: Annotated[
        str, typer.Option(help="Language of the names (ISO 639-1), if a file has several.")
    ] = "en",
) -> None:
    """Build an immutable index for the linking stage."""
    from actors.linking import build_index, gather, read, read_manifest

    names = chain.from_iterable(read(file, language) for file in files)
    target = build_index(gather(name, version, names), into)
    manifest = read_manifest(target)
    Console(highlight=False).print(
        f"{target}: {manifest.concepts:,} concepts, {manifest.terms:,} names, digest "
        f"{manifest.digest[:16]}",
        soft_wrap=True,
    )


@app.command()
def describe(
    index: Annotated[Path, typer.Argument(help="An index folder created by `build`.")],
) -> None:
    """Print the name, version, size and digest of an index."""
    from actors.linking import read_manifest

    manifest = read_manifest(index)
    Console(highlight=False).print(
        f"{manifest.name} {manifest.version}: {manifest.concepts:,} concepts, "
        f"{manifest.terms:,} names, digest {manifest.digest}",
        soft_wrap=True,
    )
