"""Pipeline files: what is accepted, and what an error says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from support import ROOT

from actors.config import ConfigError
from pipelines.cli.schema import ConfigKind, render_schema
from pipelines.config import LoadedPipeline, Pipeline, Source, load_pipeline

PIPELINES = sorted((ROOT / "configs").glob("*.yaml"))
MODELS = sorted((ROOT / "configs/models").glob("*.yaml"))


def _write(folder: Path, content: str) -> Path:
    path = folder / "p.yaml"
    path.write_text(content)
    return path


MINIMAL = """
name: x
source: {path: notes/}
steps: [{model: "starter:token-classifier"}]
sink: {path: out/}
"""


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    loaded = load_pipeline(_write(tmp_path, MINIMAL))
    assert loaded.pipeline.source.path == (str(tmp_path / "notes"),)
    assert loaded.pipeline.sink.path == str(tmp_path / "out")
    assert [model.name for model in loaded.models] == ["starter-token-classifier"]


def test_uris_stay_as_they_are(tmp_path: Path) -> None:
    content = MINIMAL.replace("notes/", "s3://lake/notes/").replace("out/", "s3://lake/out/")
    loaded = load_pipeline(_write(tmp_path, content))
    assert loaded.pipeline.source.path == ("s3://lake/notes/",)
    assert loaded.pipeline.sink.path == "s3://lake/out/"


def test_it_survives_json(tmp_path: Path) -> None:
    loaded = load_pipeline(_write(tmp_path, MINIMAL))
    assert LoadedPipeline.from_json(loaded.as_json()) == loaded


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("name: x", "name: x\nnmae: y"), r"p\.yaml:\n  nmae: unknown key"),
        (("path: notes/", "path: notes/, formt: csv"), r"source\.formt: unknown key"),
        (("name: x", "name: ../x"), r"name: String should match"),
        (("steps: [", "steps: []\nx: ["), r"steps: Tuple should have at least 1"),
        (("starter:token-classifier", "starter:nope"), r"no starter model 'nope'; available: "),
        (("sink: {path: out/}", ""), r"sink: required"),
        (("sink:", "merge: {priority: [nobody]}\nsink:"), r"unknown model nobody"),
        (('"}]', '", pool: {min_actors: 3, max_actors: 2}}]'), r"max_actors must be at least"),
        (("name: x", "name: [x"), r"not YAML"),
    ],
)
def test_an_error_names_the_file_and_the_key(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_pipeline(_write(tmp_path, MINIMAL.replace(*change)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.yaml: No such file"):
        load_pipeline(tmp_path / "nope.yaml")


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    step = '{model: "starter:token-classifier"}'
    with pytest.raises(ConfigError, match="two stages share a name"):
        load_pipeline(_write(tmp_path, MINIMAL.replace(step, f"{step}, {step}")))


@pytest.mark.parametrize("path", PIPELINES, ids=lambda p: p.name)
def test_the_shipped_pipelines_load_and_fit_the_schema(path: Path) -> None:
    load_pipeline(path)
    jsonschema.validate(
        yaml.safe_load(path.read_text()), json.loads(render_schema(ConfigKind.PIPELINE))
    )


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.name)
def test_the_shipped_models_fit_the_schema(path: Path) -> None:
    jsonschema.validate(
        yaml.safe_load(path.read_text()), json.loads(render_schema(ConfigKind.MODEL))
    )


@pytest.mark.parametrize("kind", list(ConfigKind))
def test_the_schemas_for_editors_are_up_to_date(kind: ConfigKind) -> None:
    committed = (ROOT / f"configs/schema/{kind.value}.json").read_text()
    assert committed == render_schema(kind), "run `make schema`"


def test_options_that_a_shipped_pipeline_shows_unset_have_their_defaults() -> None:
    found = {
        name: yaml.safe_load(value)
        for path in PIPELINES
        for name, value in re.findall(r"^# (\w+): ([^#\n{\[]+)", path.read_text(), re.MULTILINE)
        if name in Pipeline.model_fields
    }
    assert found.keys() >= {"max_attempts", "cluster_timeout_s", "no_progress_timeout_s"}
    assert found == {name: Pipeline.model_fields[name].default for name in found}


def test_every_option_has_a_description() -> None:
    undescribed = [
        name
        for name, field in Source.model_fields.items()
        if not field.description and name != "format"
    ]
    assert not undescribed
