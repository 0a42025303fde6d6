"""``medspan models``: list, fetch, verify, describe and import models."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from actors.config import GgufModel, ModelConfig
    from actors.config.base import Stated
    from actors.memory import Header

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_models(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List the starter models, which ship with medspan and need no download."""
    from actors.config import read_yaml
    from actors.config.load import STARTERS

    rows = []
    for path in sorted(STARTERS.glob("*/model.yaml")):
        # OCR models are not a ModelConfig, so the kind is read from the file.
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
    table = Table("reference", "kind", box=box.SIMPLE_HEAD)
    table.add_column("MB", justify="right")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)


_Reference = Annotated[str, typer.Argument(help="A model file or starter:<name>.")]


@app.command()
def fetch(reference: _Reference) -> None:
    """Fetch and verify the weights of a model, and print their local paths."""
    for path, parts, _ in _files(reference)[1]:
        for one in [path] if path.is_dir() else parts:
            print(one)


@app.command()
def verify(reference: _Reference) -> None:
    """Print the SHA-256 of a model's weights; fail if one differs from the model file."""
    from actors.weights import digest

    for _, parts, stated in _files(reference)[1]:
        for number, file in enumerate(parts):
            known = number < (len(stated) if isinstance(stated, tuple) else stated is not None)
            verdict = "matches the model file" if known else "the model file states none"
            print(f"{digest(file)}  {file}  ({verdict})")


@app.command()
def describe(
    reference: _Reference, as_json: Annotated[bool, typer.Option("--json")] = False
) -> None:
    """Describe the weights: architecture, sizes, labels, memory."""
    model, path = _weights(reference)
    facts: dict[str, object] = {"name": model.name, "kind": model.kind, "path": str(path)}
    if model.kind == "gguf":
        from actors.memory import gguf_facts, llama_memory, open_header

        header = open_header(path)
        facts |= dataclasses.asdict(gguf_facts(header))
        facts["thinking"] = _thinking(model, header)
        facts["n_ctx"], facts["sequences"] = model.context.length, model.context.slots
        take = llama_memory(header, model.context, gpu=False)
        facts["kv_cache_megabytes"] = _mb(take.kv_host)
        facts["compute_megabytes"] = _mb(take.compute_host + take.output_host)
        facts["cpu_megabytes"] = _mb(take.host)
        on_gpu = llama_memory(header, model.context, gpu=True)
        facts["gpu_megabytes"], facts["gpu_host_megabytes"] = _mb(on_gpu.device), _mb(on_gpu.host)
    elif model.kind == "gliner":
        from actors.gliner_folder import read_gliner_folder

        gliner = read_gliner_folder(path, model.weights.file)
        facts["megabytes"] = _onnx_mb(gliner.model)
        facts["scores"] = "words" if gliner.token_level else f"spans of {gliner.width} words"
        facts["encoders"] = 2 if gliner.two_encoders else 1
        facts["longest_tokens"], facts["longest_words"] = gliner.longest, gliner.most_words
        guideline = model.prompt.guideline
        facts["labels"] = [] if isinstance(guideline, str) else list(guideline.labels)
    else:
        from actors.model_folder import read_folder

        folder = read_folder(path, model.weights.file)
        facts["megabytes"] = _onnx_mb(folder.model)
        facts["labels"] = list(folder.labels)
    if as_json:
        print(json.dumps(facts))
        return
    table = Table(show_header=False, box=box.SIMPLE)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if name.endswith("megabytes"):
            name, shown = name.removesuffix("megabytes") or "file", f"{shown} MB"
        table.add_row(name.replace("_", " ").strip(), shown)
    Console().print(table)


def _thinking(model: GgufModel, header: Header) -> str:
    """Describe how the prompt handles a thinking block."""
    from actors.prompts import PromptError, prompt_format, section_template

    section = model.prompt
    own = "?" if section.format == "prose" and not section.instruction else None
    try:
        chat = section_template(section, gguf=header.text("tokenizer.chat_template"))
        done = prompt_format(section, chat).render("", own).thinking
    except PromptError as error:
        return f"unknown: {error}"
    if done == "closed":
        return "off: the prompt closes the block"
    if section.reasoning_budget == 0:
        return "off: a block is closed as soon as it is open"
    grammar = section.constrained and section.format != "prose"
    limit = "half of the room that is left" if grammar else "the context"
    if section.reasoning_budget > 0:
        limit = f"{section.reasoning_budget} tokens"
    begun = "the prompt opens a block" if done == "opened" else "the model may open a block"
    return f"{begun} of at most {limit}" + "; the grammar begins after it" * grammar


def _onnx_mb(model: Path) -> float:
    from actors.model_folder import model_parts

    return _mb(sum(part.stat().st_size for part in model_parts(model)))


def _mb(size: int) -> float:
    return round(size / 1e6, 1)


def _weights(reference: str) -> tuple[ModelConfig, Path]:
    """A model and the local path of its verified weights."""
    model, files = _files(reference)
    return model, files[0][0]


def _files(reference: str) -> tuple[ModelConfig, list[tuple[Path, list[Path], Stated]]]:
    """A model, and for each of its weights the verified local path, the files, and the stated
    SHA-256."""
    from actors.config import ConfigError, load_model
    from actors.weights import fetch_weights, folder_files, weights_parts

    if reference == "starter:ocr":
        raise ConfigError(
            f"{reference} is the OCR model; its weights ship with the package rapidocr"
        )
    model = load_model(reference)
    files, found = folder_files(model), []
    for uri, sha256 in model.weights.files:
        path = fetch_weights(uri, sha256, files)
        found.append((path, weights_parts(uri, path, files), sha256))
    return model, found


@app.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(help="A published Spark NLP model: zip file or folder.")
    ],
    into: Annotated[
        Path, typer.Option("--into", help="Folder for the weights and the model file.")
    ] = Path("models"),
    name: Annotated[str | None, typer.Option(help="Overrides the model's own name.")] = None,
    guideline: Annotated[
        Path | None,
        typer.Option(help="Guideline of a language model; default: free-text output."),
    ] = None,
) -> None:
    """Import a downloaded Spark NLP model and print the path of its model file."""
    from actors.spark_nlp import SparkNlpError, import_model

    try:
        print(import_model(source, into, name=name, guideline=guideline))
    except (SparkNlpError, OSError) as error:
        Console(stderr=True).print(str(error), style="red", highlight=False, markup=False)
        raise typer.Exit(1) from None
