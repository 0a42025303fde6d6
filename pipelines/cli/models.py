"""``medspan models``: what models there are, and what their files say."""

from __future__ import annotations

import json
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
