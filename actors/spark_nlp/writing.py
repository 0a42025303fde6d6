"""Output files of an import: weights, streamed, and the model file with a note on its origin."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from actors.spark_nlp.package import Package


@dataclass(frozen=True, slots=True)
class Left:
    """Parameters omitted from the model file: unknown names, and invalid values of known names."""

    unknown: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()


def copy(file: Traversable, target: Path) -> None:
    """Copy a file to ``target`` atomically."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    try:
        with file.open("rb") as source, partial.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_model_file(path: Path, package: Package, content: dict[str, Any], left: Left) -> None:
    """Write the model file as YAML."""
    lines = [
        f"# Imported by medspan from {_line(package.source.name)}, a {_line(package.kind)} of "
        "Spark NLP."
    ]
    if left.unknown:
        lines.append(f"# Parameters without a counterpart, left out: {_names(left.unknown)}.")
    if left.invalid:
        lines.append(f"# Parameters with invalid values, left out: {_names(left.invalid)}.")
    if content.get("prompt", {}).get("format") == "prose":
        lines.append(
            "# It writes prose. To extract entities, set prompt.format (template, nuextract or\n"
            "# entity-list) and prompt.guideline; configs/guidelines has examples."
        )
    body = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    path.write_text("\n".join(lines) + "\n\n" + body, encoding="utf-8")


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(_line(name) for name in sorted(names))


def _line(text: str) -> str:
    """Collapse a foreign text to one line, so that it cannot leave its YAML comment."""
    return " ".join(text.split())
