"""``medspan calibrate``: thresholds per label for a wanted precision or recall."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipelines.cli.errors import show_error
from pipelines.cli.evaluate import predictions_of, scored
from pipelines.exchange.formats import GoldFormat

if TYPE_CHECKING:
    from actors.config import ModelConfig


def calibrate(
    config: Annotated[Path, typer.Argument(help="A pipeline file.")],
    gold: Annotated[str, typer.Option(help="As for `medspan evaluate`.")],
    gold_format: Annotated[
        GoldFormat | None, typer.Option(help="Default: by the suffix of the files.")
    ] = None,
    precision: Annotated[
        float | None, typer.Option(min=0, max=1, help="Minimum precision of each label.")
    ] = None,
    recall: Annotated[
        float | None, typer.Option(min=0, max=1, help="Minimum recall of each label.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            help="Use the sink: live for all live documents, or a run's id or latest for those "
            "that this run wrote; default: run the pipeline's models on the gold texts in this "
            "process."
        ),
    ] = None,
    plot: Annotated[
        str | None, typer.Option(help="Write a reliability diagram of the scores here, as SVG.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Choose score thresholds per label from gold, for `labels` of the model file."""
    import yaml

    from pipelines.config import load_pipeline
    from pipelines.evaluate import GoldError, calibration, compare
    from pipelines.evaluate.reliability_plot import reliability_svg
    from pipelines.exchange.gold_formats import read_gold
    from pipelines.markup.reader_page import save
    from pipelines.tables.folder import RunError

    console = Console(stderr=True)
    loaded = load_pipeline(config)
    loaded.pipeline.storage.apply()
    try:
        if (precision is None) == (recall is None):
            raise GoldError("pass either --precision or --recall")
        documents = read_gold(gold, gold_format).documents
        comparison = compare(documents, predictions_of(loaded, documents, run), resamples=0)
    except (GoldError, RunError) as error:
        show_error(error)
        raise typer.Exit(2) from error
    found = (
        calibration.calibrate_scores(comparison, "precision", precision)
        if precision is not None
        else calibration.calibrate_scores(comparison, "recall", recall or 0.0)
    )
    if plot:
        save(plot, reliability_svg(found, loaded.pipeline.name))
    replaced = {stage.name: dict(stage.model.labels.replace) for stage in loaded.models}
    own = {stage.name: labels for stage in loaded.models if (labels := _labels(stage.model))}
    snippet = calibration.thresholds_snippet(found.thresholds, replaced, own)
    if as_json:
        print(json.dumps(found.as_dict() | {"labels": snippet}))
        return
    for table in calibration.calibration_tables(found):
        console.print(table)
    console.print(f"Scored: {scored(loaded, run)}.", soft_wrap=True, highlight=False, markup=False)
    if found.without_score:
        console.print(
            f"{found.without_score:,} predictions have no score, so no threshold removes them"
        )
    for model, thresholds in snippet.items():
        print(f"# model file of {model}")
        print(yaml.safe_dump({"labels": {"thresholds": thresholds}}, sort_keys=True), end="")


def _labels(model: ModelConfig) -> Collection[str]:
    """Return the labels of a model that replaces some: those of its weights or of its guideline;
    none where they are unknown, or where nothing is replaced, so that the names are its own."""
    from actors.config import OnnxModel
    from actors.guideline import Guideline
    from actors.model_folder import read_folder
    from actors.onnx.tokens.labels import read_labels
    from actors.weights import fetch_model

    if not model.labels.replace:
        return ()
    if isinstance(model, OnnxModel):
        names = read_folder(fetch_model(model), model.weights.file).labels
        return read_labels(names, model.decode.scheme, model.decode.outside).types
    guideline = model.prompt.guideline
    return tuple(guideline.labels) if isinstance(guideline, Guideline) else ()
