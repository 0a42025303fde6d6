"""``medspan models``: what models there are, and what their files say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_models(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """The starter models, which ship with medspan and need no download."""
    from actors.config import read_yaml
    from actors.config.load import STARTERS

    rows = []
    for path in sorted(STARTERS.glob("*/model.yaml")):
        # The readers of pictures are no ModelConfig: the kind is taken from the file.
        size = sum(file.stat().st_size for file in path.parent.iterdir())
        rows.append(
            {
                "reference": f"starter:{path.parent.name}",
                "kind": read_yaml(path)["kind"],
                "megabytes": round(size / 1e6, 1),
            }
        )
    if as_json:
        print(json.dumps(rows))
        return
    table = Table("reference", "kind", "MB")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)


@app.command()
def fetch(
    reference: Annotated[str, typer.Argument(help="A model file or starter:<name>.")],
) -> None:
    """Fetch and verify the weights of a model; print where they are on this machine."""
    from actors.config import load_model
    from actors.weights import fetch as fetch_weights

    model = load_model(reference)
    files: tuple[str, ...] = ()
    if model.kind == "onnx":
        from actors.onnx.folder import FILES

        files = FILES
    print(fetch_weights(model.weights.model, model.weights.sha256, files))


@app.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(help="A model as Spark NLP publishes it: zip or folder.")
    ],
    into: Annotated[
        Path, typer.Option("--into", help="Folder for the weights and the model file.")
    ] = Path("models"),
    name: Annotated[str | None, typer.Option(help="Another name than the model's own.")] = None,
    guideline: Annotated[
        Path | None, typer.Option(help="What a language model shall extract; without it, prose.")
    ] = None,
) -> None:
    """Make a downloaded Spark NLP model medspan's own; print the path of its model file."""
    from actors.spark_nlp import SparkNlpError, import_model

    try:
        print(import_model(source, into, name=name, guideline=guideline))
    except (SparkNlpError, OSError) as error:
        Console(stderr=True).print(str(error), style="red", highlight=False, markup=False)
        raise typer.Exit(1) from None
