"""One name per concept: a public type is defined once, and nothing of ours is renamed on import."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from support import ROOT

OURS = {"actors", "pipelines", "benchmarks", "recipes", "support"}


def modules(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    """The Python files of these folders, parsed."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def public_types(module: ast.Module) -> Iterator[str]:
    """Public classes and type aliases of a module."""
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            # An alias: Name = Callable[...], tuple[...], A | B. TypeVars are local by nature.
            if not isinstance(node.value, ast.Subscript | ast.BinOp):
                continue
        else:
            continue
        if name[0].isupper() and not name.isupper():
            yield name


def test_a_public_type_is_defined_once() -> None:
    places = defaultdict(list)
    for path, module in modules("actors", "pipelines"):
        for name in public_types(module):
            places[name].append(str(path))
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_nothing_of_ours_is_renamed_on_import() -> None:
    renamed = []
    for path, module in modules(*sorted(OURS - {"support"}), "tests", "docs"):
        for node in ast.walk(module):
            if isinstance(node, ast.ImportFrom):
                sources = [node.module or ""] * len(node.names)
            elif isinstance(node, ast.Import):
                sources = [alias.name for alias in node.names]
            else:
                continue
            renamed += [
                f"{path}:{node.lineno}: {alias.name} as {alias.asname}"
                for source, alias in zip(sources, node.names, strict=True)
                if source.split(".")[0] in OURS and alias.asname
            ]
    assert renamed == []


def test_the_glossary_defines_a_term_once() -> None:
    rows = (ROOT / "docs/glossary.md").read_text(encoding="utf-8").splitlines()
    terms = [row.split("|")[1].strip() for row in rows if row.startswith("| ")]
    terms = [term for term in terms if term != "word"]
    assert len(terms) > 50
    assert sorted(set(terms)) == sorted(terms)
