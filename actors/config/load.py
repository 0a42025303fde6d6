"""Load a model file: YAML to a validated configuration with absolute paths and helpful errors."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from actors.config.gguf import GgufModel
from actors.config.gliner import GlinerModel
from actors.config.onnx import OnnxModel
from actors.guideline import Guideline, annotated_examples

STARTERS = Path(__file__).resolve().parent.parent / "starters"
_STARTER = "starter:"
_NO_PATH = (_STARTER, "package:")
_T = TypeVar("_T", bound=BaseModel)


class ConfigError(ValueError):
    """An invalid configuration; the message names the file and the key."""


ModelConfig = OnnxModel | GlinerModel | GgufModel
_MODEL: TypeAdapter[ModelConfig] = TypeAdapter(
    Annotated[OnnxModel | GlinerModel | GgufModel, Field(discriminator="kind")]
)
_GUIDELINE = TypeAdapter(Guideline)


def load_model(reference: str | Path) -> ModelConfig:
    """Load the model from a YAML file or from ``starter:<name>``.

    Raises ConfigError, which names the file and every wrong key.
    """
    path = starter_file(str(reference)) if str(reference).startswith(_STARTER) else Path(reference)
    if path.is_dir():
        raise ConfigError(
            f"{path}: a folder, not a model file; write a YAML file with name, kind and "
            f"weights.model: {path}"
        )
    content = read_yaml(path)
    if "steps" in content and "kind" not in content:
        raise ConfigError(f"{path}: a pipeline file where a model file is expected")
    return parse_model(content, path)


def starter_file(reference: str) -> Path:
    """Return the model file of ``starter:<name>``; raises ConfigError listing the known ones."""
    name = reference.removeprefix(_STARTER)
    known = sorted(p.parent.name for p in STARTERS.glob("*/model.yaml"))
    if name not in known:
        raise ConfigError(f"no starter model {name!r}; available: {', '.join(known) or 'none'}")
    return STARTERS / name / "model.yaml"


def parse_model(content: dict[str, Any], path: Path) -> ModelConfig:
    """Build a model from its file's content; relative paths are resolved against ``path``."""
    prompt = content.get("prompt")
    if isinstance(prompt, dict) and isinstance(inline := prompt.get("guideline"), dict):
        content = content | {"prompt": prompt | {"guideline": _examples(inline, path)}}
    model = validate(_MODEL, content, path)
    weights: dict[str, Any] = {"model": resolve(model.weights.model, path)}
    if isinstance(model, GgufModel):
        if model.weights.mmproj is not None:
            weights["mmproj"] = resolve(model.weights.mmproj, path)
        weights["lora"] = tuple(
            one.model_copy(update={"model": resolve(one.model, path)}) for one in model.weights.lora
        )
    if not isinstance(model, OnnxModel) and isinstance(model.prompt.guideline, str):
        # Inlined, so that the fingerprint covers the guideline's content.
        guideline = load_guideline(resolve(model.prompt.guideline, path))
        prompt = model.prompt.model_copy(update={"guideline": guideline})
        model = model.model_copy(update={"prompt": prompt})
    return model.model_copy(update={"weights": model.weights.model_copy(update=weights)})


def load_guideline(path: str | Path) -> Guideline:
    """Load a guideline; raises ConfigError, which names the file and every wrong key."""
    path = Path(path)
    return validate(_GUIDELINE, _examples(read_yaml(path), path), path)


def _examples(guideline: dict[str, Any], holder: Path) -> dict[str, Any]:
    """A guideline with the examples in place of the path of a file that holds them."""
    if not isinstance(guideline.get("examples"), str):
        return guideline
    file = Path(resolve(guideline["examples"], holder))
    without = validate(_GUIDELINE, guideline | {"examples": ()}, holder)
    try:
        with file.open(encoding="utf-8") as lines:
            found = annotated_examples(lines, without)
    except OSError as error:
        raise ConfigError(f"{holder}: examples: {file}: {error.strerror or error}") from error
    except ValueError as error:  # or UnicodeDecodeError, which quotes bytes of the file
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else error
        raise ConfigError(f"{holder}: examples: {file}: {reason}") from None
    return guideline | {"examples": found}


def resolve(reference: str, holder: Path) -> str:
    """Return a URI as is, and a relative path resolved against the folder of ``holder``."""
    if "://" in reference or reference.startswith(_NO_PATH):
        return reference
    return str((holder.resolve().parent / Path(reference).expanduser()).resolve())


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file; raises ConfigError that names the file and the line."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: not a mapping of keys to values")
    return content


def validate(adapter: TypeAdapter[_T], content: dict[str, Any], path: Path) -> _T:
    """Validate ``content``; raises ConfigError with one line per wrong key."""
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        known = adapter.json_schema()
        lines = [
            f"  {'.'.join(_place(item['loc'], content)) or '(file)'}: {_describe(item, known)}"
            for item in error.errors(include_url=False, include_input=False)
        ]
        raise ConfigError(f"{path}:\n" + "\n".join(lines)) from error


def _place(loc: tuple[int | str, ...], content: dict[str, Any]) -> list[str]:
    """Return a value's path in the file; pydantic prefixes it with the kind of the model."""
    skip = bool(loc) and loc[0] == content.get("kind") and loc[0] not in content
    return [str(part) for part in loc[skip:]]


def _describe(item: Any, schema: dict[str, Any]) -> str:
    """Describe a validation error; for an unknown key, suggest the nearest known one."""
    if item["type"] == "union_tag_invalid":
        known = str(item["ctx"]["expected_tags"]).replace("'", "")
        return f"kind: {item['ctx']['tag']!r} is unknown; the kinds are {known}"
    if item["type"] == "union_tag_not_found":
        return "kind: required"
    if item["type"] == "missing":
        return "required"
    if item["type"] != "extra_forbidden":
        return str(item["msg"])
    *holder, key = (str(part) for part in item["loc"])
    near = get_close_matches(key, _keys(schema, holder), 1)
    return f"unknown key; did you mean {near[0]}?" if near else "unknown key"


def _keys(schema: dict[str, Any], path: list[str]) -> set[str]:
    """Return the keys allowed in the mapping at ``path``, according to a JSON Schema."""
    places = _alternatives(schema, schema)
    for part in path:
        found = [
            inner
            for place in places
            for inner in (
                place.get("properties", {}).get(part),
                place.get("items") if part.isdigit() else None,
                place.get("additionalProperties"),
            )
            if isinstance(inner, dict)
        ]
        # A union's kind appears in pydantic's path but not in the file.
        if found:
            places = [one for inner in found for one in _alternatives(inner, schema)]
    return {key for place in places for key in place.get("properties", {})}


def _alternatives(node: dict[str, Any], root: dict[str, Any]) -> list[dict[str, Any]]:
    """Resolve a schema's references and alternatives."""
    if "$ref" in node:
        return _alternatives(root["$defs"][node["$ref"].rpartition("/")[2]], root)
    others = [one for key in ("anyOf", "oneOf", "allOf") for one in node.get(key, ())]
    return [node, *(one for other in others for one in _alternatives(other, root))]
