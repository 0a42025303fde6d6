"""``medspan vocabulary``: build and describe vocabulary indexes."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from actors.config.linking import Pooling
from actors.config.onnx import FolderWeights

if TYPE_CHECKING:
    from actors.linking.index import EmbeddingManifest

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
    synonyms: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="More names of the same codes, e.g. in another language, in any of these formats; "
            "repeatable. A code that FILE... does not define is an error.",
        ),
    ] = None,
    language: Annotated[
        str, typer.Option(help="Language of the names (ISO 639-1), if a file has several.")
    ] = "en",
    embedding: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Folder, hf:// or package: URI of a text-embedding ONNX model: the index holds "
            "the vectors of all names, for linking.vocabularies.embedding.",
        ),
    ] = None,
    pooling: Annotated[
        Pooling,
        typer.Option(help="The model's vector of a name: the mean of its tokens', or the first."),
    ] = "mean",
) -> None:
    """Build an immutable index for the linking stage."""
    from actors.linking import build_index, gather, read, read_manifest

    encoder = None
    if embedding is not None:
        from actors.memory import cores
        from actors.onnx.text_embedding import TextEncoder

        encoder = TextEncoder(FolderWeights(model=embedding), pooling, cores())
    names, more = (
        chain.from_iterable(read(file, language) for file in some)
        for some in (files, synonyms or ())
    )
    target = build_index(gather(name, version, names, more), into, encoder)
    manifest = read_manifest(target)
    Console(highlight=False).print(
        f"{target}: {manifest.concepts:,} concepts, {manifest.terms:,} names, digest "
        f"{manifest.digest[:16]}{_vectors(manifest.embedding)}",
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
        f"{manifest.terms:,} names, digest {manifest.digest}{_vectors(manifest.embedding)}",
        soft_wrap=True,
    )


def _vectors(embedding: EmbeddingManifest | None) -> str:
    if embedding is None:
        return ""
    return f"; vectors of {embedding.dimensions} numbers, model {embedding.model[:16]}"
