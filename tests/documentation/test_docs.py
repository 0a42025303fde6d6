"""The documentation says what the code does: generated pages, links, files, commands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import ROOT
from typer.testing import CliRunner, Result

from actors.config.deidentify import Deidentify
from actors.config.load import parse_model
from actors.config.ocr import OcrModel
from pipelines.config import Pipeline

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
PAGES += sorted(path for path in DOCS.rglob("*.md") if path.parent.name != "decisions")
WRITTEN = [page for page in PAGES if "Written by docs/generate.py" not in page.read_text()]


def test_generated_pages_match_the_code() -> None:
    pytest.importorskip("ray")
    from docs.generate import pages

    for path, text in pages().items():
        kept = (DOCS / path).read_text(encoding="utf-8")
        assert kept == text.rstrip("\n") + "\n", f"docs/{path}: run `python -m docs.generate`"


def test_every_decision_has_a_number_of_its_own() -> None:
    numbers = [path.name[:3] for path in (DOCS / "decisions").glob("[0-9]*.md")]
    assert len(set(numbers)) == len(numbers)
    others = {path.name for path in (DOCS / "decisions").glob("*.md")}
    assert {name for name in others if not name[:3].isdigit()} == {"index.md"}


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", text)
    missing = {link for link in links if not (page.parent / link).exists()}
    named = re.findall(
        r"(?<![\w/.-])((?:actors|pipelines|configs|benchmarks|recipes)/[\w./-]*)", text
    )
    missing |= {name for name in named if not (ROOT / name.rstrip(".")).exists()}
    assert not missing


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every ``medspan`` command in the code blocks of a page."""
    blocks = re.findall(r"```(?:console|bash|sh)\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        if found := re.search(
            r"(?:^\$ |^|-- )medspan (.+?)(?:\s+#.*|\s*\|.*|\s*>.*)?$", line.strip()
        ):
            yield found[1].split()


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_of_a_page_exist(page: Path) -> None:
    from typer.main import get_command

    from pipelines.cli.app import app

    for words in commands(page):
        command, known = get_command(app), {"-v", "--verbose", "--help"}
        rest = [word for word in words if word not in known]
        while (inner := getattr(command, "commands", None)) is not None:
            name = rest.pop(0)
            assert name in inner, f"medspan {' '.join(words)}: no command {name}"
            command = inner[name]
        options = {one for param in command.params for one in (*param.opts, *param.secondary_opts)}
        given = {word.split("=")[0] for word in rest if re.match(r"--?[a-zA-Z]", word)}
        assert given <= options | known, f"medspan {' '.join(words)}"


def saved_files(page: Path, folder: Path) -> None:
    """Save the files that a page asks its reader to save."""
    blocks = re.findall(
        r"<!-- file: (\S+) -->\n```\w*\n(.*?)```", page.read_text(encoding="utf-8"), re.S
    )
    assert blocks
    for name, content in blocks:
        (folder / name).write_text(content, encoding="utf-8")


def medspan(line: str) -> Result:
    from pipelines.cli.app import app

    result = CliRunner().invoke(app, shlex.split(line)[1:])
    assert result.exit_code == 0, f"{line}: {result.output}"
    return result


def executed(page: Path) -> dict[str, Any]:
    """The names that the Python blocks of a page leave behind."""
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    assert blocks
    for block in blocks:
        exec(block, names)
    return names


@pytest.mark.weights
def test_the_python_of_the_readme() -> None:
    assert "extractor" in executed(ROOT / "README.md")


@pytest.mark.weights
def test_the_fast_commands_of_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    page = DOCS / "tutorial.md"
    saved_files(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^\$ (medspan .*)$", page.read_text(encoding="utf-8"), re.M)
    extracts = [line for line in lines if line.startswith("medspan extract")]
    assert len(extracts) == 2
    for line in extracts:
        assert "Metformin" in medspan(line).stdout
    assert "3 documents in 1 file," in medspan("medspan run clinic.yaml --dry-run").output


@pytest.mark.weights
@pytest.mark.ray
def test_the_rest_of_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run, both Python blocks, and the list of runs."""
    polars = pytest.importorskip("polars")
    page = DOCS / "tutorial.md"
    saved_files(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    medspan("medspan run clinic.yaml")
    names = executed(page)
    assert names["diseases"].filter(polars.col("experiencer") == "family").height == 1
    drugs = set(names["relations"].filter(polars.col("type") == "strength")["drug"])
    assert drugs == {"Metformin", "Latanoprost", "Insulin glargine"}
    executed(DOCS / "how-to/query-the-tables.md")
    assert "3" in medspan("medspan runs list out/").output


def test_the_commands_of_the_export_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a sink that holds the gold of the quickstart's documents in place of a model's results."""
    pytest.importorskip("ray")
    pytest.importorskip("spacy")
    from support.lake import store_gold

    config = yaml.safe_load((ROOT / "configs/quickstart.yaml").read_text(encoding="utf-8"))
    samples = ROOT / "configs/samples"
    config["source"]["path"] = str(samples / "quickstart")
    config["sink"]["path"] = "../out/quickstart"
    (tmp_path / "configs/samples").mkdir(parents=True)
    (tmp_path / "configs/quickstart.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    gold = tmp_path / "configs/samples/quickstart-gold.jsonl"
    gold.write_bytes((samples / "quickstart-gold.jsonl").read_bytes())
    store_gold(str(tmp_path / "out/quickstart"), gold)
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "how-to/export.md").read_text(encoding="utf-8")
    found = re.findall(r"^\$ (medspan .*)\n(\d+ documents .*)?", page, re.M)
    assert len(found) >= 11
    for line, said in found:
        assert said in medspan(line).output


def yaml_blocks() -> list[tuple[str, str]]:
    blocks = []
    for page in sorted((DOCS / "how-to").glob("*.md")):
        found = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
        blocks += [(f"{page.stem}-{n}", block) for n, block in enumerate(found, 1)]
    return blocks


@pytest.mark.parametrize(("name", "block"), yaml_blocks(), ids=[name for name, _ in yaml_blocks()])
def test_configuration_in_the_how_tos_is_valid(name: str, block: str) -> None:
    """A block is a model file, policies of de-identification, or sections of a pipeline file."""
    content = yaml.safe_load(block)
    if content.get("kind") == "ocr":
        OcrModel.model_validate(content)
    elif "kind" in content:
        parse_model(content, ROOT / "configs/models/of-a-page.yaml")
    elif "policies" in content:
        Deidentify.model_validate(content)
    else:
        rest = {
            "name": name,
            "source": {"path": "notes/"},
            "steps": [{"model": "starter:token-classifier"}],
            "sink": {"path": "out/"},
        }
        Pipeline.model_validate(rest | content)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", tmp_path / "site"],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site/tutorial.html").exists()


def test_messages_of_the_troubleshooting_page_are_those_of_the_code() -> None:
    """A reader looks for the words that are on the screen; Ray's own are named as such."""
    page = (DOCS / "how-to/troubleshoot.md").read_text(encoding="utf-8")
    seen = re.findall(r"^\| (.*?) \| ", page, re.M)
    words = {
        word for cell in seen if "from Ray" not in cell for word in re.findall("`(.+?)`", cell)
    }
    code = "\n".join(
        file.read_text(encoding="utf-8")
        for package in ("actors", "pipelines")
        for file in (ROOT / package).rglob("*.py")
    )
    code = re.sub(r'"\s*f?"', "", code)  # a message may be in several literals
    commands = {"enrich", "vacuum"}
    assert len(words) > 40
    assert {word for word in words - commands if word not in code} == set()
