"""Files of an import: weights copied in streams, and the model file with a word on its origin."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from actors.spark_nlp.package import Package


def copy(file: Traversable, target: Path) -> None:
    """A file to ``target``, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    with file.open("rb") as source, partial.open("wb") as sink:
        shutil.copyfileobj(source, sink, 1 << 20)
    partial.replace(target)


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_model_file(
    path: Path, package: Package, content: dict[str, Any], left: Sequence[str]
) -> None:
    """The model file as YAML."""
    lines = [f"# Imported by medspan from {package.source.name}, a {package.kind} of Spark NLP."]
    if left:
        lines.append(f"# Parameters without a counterpart, left out: {', '.join(sorted(left))}.")
    if content.get("prompt", {}).get("format") == "prose":
        lines.append(
            "# It asks for prose. To extract entities, set prompt.format (template, nuextract or\n"
            "# entity-list) and prompt.guideline; configs/guidelines has some to begin with."
        )
    body = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    path.write_text("\n".join(lines) + "\n\n" + body, encoding="utf-8")
