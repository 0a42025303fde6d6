"""Writes the pages that follow from the code: ``python -m docs.generate``.

Commands, configuration, HTTP, tables, metrics, codes, benchmarks and the index of decisions are
read from where they are defined, so a page cannot say something else. A test fails where a page in
the repository is not what this prints.
"""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
ROOT = DOCS.parent
_KINDS = {int: "integer", float: "number", Path: "path"}
_NOTE = "<!-- Written by docs/generate.py. Do not edit. -->\n"


def pages() -> dict[str, str]:
    """Every generated page, by its path below docs/."""
    return {
        "reference/cli.md": cli(),
        "reference/configuration.md": configuration(
            "pipeline",
            "Configuration: the pipeline file",
            "All keys of the file that `medspan run`, `enrich`, `plan`, `serve` and `evaluate` "
            "take. An unknown key is an error. Complete, commented examples: `configs/`. What a "
            "file in `configs/models/` holds: [the model file](model-file.md).",
        ),
        "reference/model-file.md": configuration(
            "model",
            "Configuration: the model file",
            "All keys of a model file, of which `kind` says what it is: `onnx` (token "
            "classifier), `gliner`, `gguf` (language and vision models) or `ocr`. Paths are "
            "relative to the file.",
        ),
        "reference/http.md": http(),
        "reference/tables.md": tables(),
        "reference/metrics.md": metrics(),
        "reference/errors.md": errors(),
        "benchmarks.md": benchmarks(),
        "decisions/index.md": decisions(),
    }


def cli() -> str:
    """Commands, arguments and options, as ``--help`` has them."""
    from typer.main import get_command

    from pipelines.cli.app import app

    out = [_NOTE, "# Commands", "", "What `medspan COMMAND --help` says, in one page.", ""]
    for path, command in _commands(get_command(app), ("medspan",)):
        out += [f"## {' '.join(path)}", ""]
        text = " ".join((command.help or "").replace("\f", " ").split())
        usage = [param.metavar or param.name for param in command.params if _is_argument(param)]
        names = " ".join(name if name.isupper() else name.upper() for name in usage)
        out += [_escape(text), "", f"    {' '.join(path)} {names}".rstrip() + " [OPTIONS]", ""]
        rows = [
            (_param_name(param), _default(param), _escape(getattr(param, "help", None) or ""))
            for param in command.params
            if not getattr(param, "hidden", False) and param.name != "help"
        ]
        if rows:
            out += [*_table(("argument or option", "default", "what it does"), rows), ""]
    return "\n".join(out)


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, one in inner.items():
        yield from _commands(one, (*path, name))


def _is_argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")


def _param_name(param: Any) -> str:
    if _is_argument(param):
        return f"`{(param.metavar or param.name).upper()}`"
    names = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
    kind = param.type_descriptor.annotation
    if kind is bool:
        return names
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"{names} {_escape('|'.join(str(one.value) for one in kind))}"
    return f"{names} {_KINDS.get(kind, 'text')}"


def _default(param: Any) -> str:
    if param.required:
        return "required"
    value = param.default
    if value is None or value is False or callable(value) or value == () or value == []:
        return ""
    return f"`{getattr(value, 'value', value)}`"


def configuration(kind: str, title: str, intro: str) -> str:
    """The keys of a kind of configuration file, from its JSON Schema."""
    from pipelines.cli.schema import ConfigKind, render_schema

    schema = json.loads(render_schema(ConfigKind(kind)))
    out = [_NOTE, f"# {title}", "", intro, ""]
    if "properties" in schema:
        out += ["## The file", "", *_properties(schema), ""]
    out += _definitions(schema.get("$defs", {}))
    return "\n".join(out)


def _definitions(definitions: Mapping[str, Any]) -> list[str]:
    out: list[str] = []
    for name, definition in sorted(definitions.items()):
        out += [f"## {name}", ""]
        if about := definition.get("description"):
            out += [_escape(" ".join(about.split())), ""]
        if "properties" in definition:
            out += [*_properties(definition), ""]
        elif "enum" in definition:
            out += [f"One of {', '.join(f'`{value}`' for value in definition['enum'])}.", ""]
        else:
            out += [f"{_type(definition)}.", ""]
    return out


def _properties(schema: Mapping[str, Any]) -> list[str]:
    required = set(schema.get("required", ()))
    rows = []
    for name, about in schema["properties"].items():
        default = about.get("default")
        shown = "required" if name in required else ""
        if not shown and "default" in about:
            shown = f"`{json.dumps(default, ensure_ascii=False)}`".replace("|", "\\|")
            shown = "" if default is None else shown if len(shown) < 60 else "see the schema"
        text = " ".join(about.get("description", "").split())
        rows.append((f"`{name}`", _type(about), shown, _escape(text)))
    return _table(("key", "type", "default", "what it is"), rows)


def _type(about: Mapping[str, Any]) -> str:
    if "$ref" in about:
        name = about["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{_anchor(name)})"
    for key in ("anyOf", "oneOf", "allOf"):
        if key in about:
            names = dict.fromkeys(_type(one) for one in about[key])
            return " or ".join(name for name in names if name != "null") or "null"
    if "const" in about:
        return f"`{about['const']}`"
    if "enum" in about:
        return " or ".join(f"`{value}`" for value in about["enum"])
    kind = about.get("type", "any")
    if kind == "array":
        inner = about.get("items") or {}
        return f"list of {_type(inner)}" if inner else "list"
    if kind == "object":
        values = about.get("additionalProperties")
        return f"mapping to {_type(values)}" if isinstance(values, dict) and values else "mapping"
    return str(kind)


def http() -> str:
    """Paths, bodies and answers, from the OpenAPI description of the server."""
    from pipelines.config import load_pipeline
    from pipelines.serve.answering.models import LocalModels
    from pipelines.serve.catalogue import catalogue_of
    from pipelines.serve.http.app import create_app

    catalogue = catalogue_of(load_pipeline(ROOT / "configs/quickstart.yaml"))
    schema = create_app(catalogue, LocalModels({}, {})).openapi()
    out = [
        *(_NOTE, "# HTTP", ""),
        "The HTTP API of `medspan serve`. Every server has the same description in OpenAPI at "
        "`/v1/openapi.json`. How to start one: [serve](../how-to/serve.md). "
        "All error codes: [codes](errors.md).",
        "",
    ]
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            out += [f"## {method.upper()} {path}", "", f"{operation['summary']}.", ""]
            for kind, body in operation.get("requestBody", {}).get("content", {}).items():
                out += [f"Body: {kind}, {_type(body.get('schema', {}))}.", ""]
            rows = [
                (f"`{status}`", _body(answer), _escape(" ".join(answer["description"].split())))
                for status, answer in operation["responses"].items()
            ]
            out += [*_table(("status", "body", "meaning"), rows), ""]
    out += ["# Bodies", "", *_definitions(schema["components"]["schemas"])]
    return "\n".join(out)


def _body(answer: Mapping[str, Any]) -> str:
    kinds = answer.get("content", {})
    return "; ".join(
        _type(body["schema"]) if kind == "application/json" and body.get("schema") else kind
        for kind, body in kinds.items()
    )


def tables() -> str:
    """Columns of the tables, from their Arrow schemas."""
    from pipelines.tables.schema import DATA, UNITS

    about = {
        "documents": "One row per document.",
        "entities": "One row per entity.",
        "relations": "One row per link between two entities of a document.",
        "deidentified/documents": "One row per document, without identifiers. The tables below "
        "`deidentified`, and `reidentification`, exist only with the stage `deidentify`.",
        "deidentified/entities": "Its entities, with positions in the de-identified text.",
        "deidentified/relations": "Its relations.",
        "reidentification": "One row per document, which maps the original to the de-identified "
        "one. Protect it like the originals.",
        "units": "The ledger: one row per live unit of work, and one per run (`unit` is null).",
    }
    out = [
        *(_NOTE, "# Tables", ""),
        "The Delta tables that `medspan run` and `enrich` write to the sink. How to read them: "
        "[query the tables](../how-to/query-the-tables.md). `documents` also has the columns of "
        "`source.extra_columns`, and `entities` those of `sink.entity_columns`.",
        "",
    ]
    for name, schema in {**DATA, "units": UNITS}.items():
        rows = [
            (
                f"`{field.name}`",
                _arrow(field.type) + ("" if field.nullable else ", never null"),
                _escape((field.metadata or {}).get(b"comment", b"").decode()),
            )
            for field in schema
        ]
        out += [f"## {name}", "", about[name], ""]
        out += [*_table(("column", "type", "what it is"), rows), ""]
    return "\n".join(out)


def _arrow(type_: Any) -> str:
    return f"`{type_}`".replace("|", "\\|")


def metrics() -> str:
    """Metrics, from the calls that make them."""
    from pipelines.worker import events

    rows: list[tuple[str, ...]] = []
    tree = ast.parse(Path(events.__file__).read_text(encoding="utf-8"))
    parts = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for source in parts:
        for name, text, tag in re.findall(r"\('(\w+)', '([^']*)', '(\w+)', \w+\)", source):
            rows.append((f"`ray_medspan_{name}_total`", "counter", f"`pipeline`, `{tag}`", text))
        for kind, name, text in re.findall(r"_(counter|histogram)\('(\w+)', '([^']*)'", source):
            suffix = "_total" if kind == "counter" else ""  # a histogram's have their own
            rows.append((f"`ray_medspan_{name}{suffix}`", kind, "`model`", text))
    out = [
        *(_NOTE, "# Metrics", ""),
        "Exported with Ray's own metrics, at the Prometheus endpoint of each node. They contain "
        "numbers, names of models, labels and error types, never text. A histogram has `_bucket`, "
        "`_sum` and `_count`. Alerts: [operate and troubleshoot](../how-to/troubleshoot.md).",
        "",
        *_table(("metric", "kind", "tags", "what it counts"), rows),
    ]
    return "\n".join(out) + "\n"


def errors() -> str:
    """Exit codes of the command, codes of the server."""
    from pipelines.cli import app
    from pipelines.serve.wire.errors import CODES

    said = " ".join((app.__doc__ or "").split())
    codes = re.findall(r"(\d) ([^;.]+)", said.split("Exit codes:")[1])
    out = [
        *(_NOTE, "# Codes", "", "## Exit codes of `medspan`", ""),
        *_table(("code", "meaning"), [(f"`{code}`", text) for code, text in codes]),
        *("", "## Codes of HTTP errors", ""),
        'Every error is `{"error": {"code", "message", "request_id", "details"}}`. Messages '
        "never repeat the content of the request.",
        "",
        *_table(
            ("code", "status", "message"),
            [(f"`{code}`", str(status), text) for code, (status, text) in CODES.items()],
        ),
    ]
    return "\n".join(out) + "\n"


def benchmarks() -> str:
    """Results that are kept in benchmarks/results, with the machine of each."""
    out = [
        *(_NOTE, "# Benchmarks", ""),
        "Each script of `benchmarks/` runs medspan and what it is compared with side by side, in "
        "the same minutes on the same machine, and prints a JSON document that is kept in "
        "`benchmarks/results/`. This page is made from those documents. A ratio above 1 means that "
        "medspan is faster or better, where the script's own text does not say otherwise. "
        "A result is of the code of its date. **All were measured on CPUs: no GPU was at hand.**",
        "",
    ]
    for file in sorted((ROOT / "benchmarks/results").glob("*.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        out += [f"## {file.stem}", ""]
        if about := _benchmark_docstring(file.stem.partition("-")[0]):
            out += [_escape(about), ""]
        parts = result.get("measured") or {"": result}
        out += [
            f"- {part}: measured {_circumstances(at)}."
            if part
            else f"Measured: {_circumstances(at)}."
            for part, at in parts.items()
        ]
        out.append("")
        for part in ("ratios", "scores", "relations", "marks", "forms", "run"):
            rows = list(_numbers(result.get(part) or {}))
            if rows:
                out += [*_table((part, "value"), rows), ""]
        out += [f"Everything: `benchmarks/results/{file.name}`.", ""]
    return "\n".join(out)


def _benchmark_docstring(name: str) -> str:
    for path in (f"{name}.py", f"{name}/__main__.py", f"{name}/run.py", f"{name}/__init__.py"):
        script = ROOT / "benchmarks" / path
        if script.is_file():
            text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
            return " ".join(text.split("\n\n")[0].split())
    return ""


def _circumstances(result: Mapping[str, Any]) -> str:
    at = result.get("date") or result.get("at")
    facts = [str(at)[:10] if at else "date not recorded"]
    for key in ("machine", "processor"):
        machine = result.get(key)
        if isinstance(machine, str):
            facts.append(machine)
        elif isinstance(machine, dict):
            facts += [
                f"{name}: {', '.join(value) if isinstance(value, list) else value}"
                for name, value in machine.items()
            ]
    if "cores" in result:
        facts.append(f"cores: {result['cores']}")
    if len(facts) == 1:
        facts.append("machine not recorded")
    versions = result.get("versions") or {}
    facts += [f"{name} {version}" for name, version in versions.items()]
    return "; ".join(facts)


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        if isinstance(value, int | float | str) or value is None:
            yield f"`{path}`", _number(value)
        return
    leaves = {key: one for key, one in value.items() if not isinstance(one, dict | list)}
    if path and leaves and len(leaves) == len(value):
        yield f"`{path}`", ", ".join(f"{key} {_number(one)}" for key, one in leaves.items())
        return
    for key, one in value.items():
        yield from _numbers(one, f"{path} / {key}" if path else str(key))


def _number(value: Any) -> str:
    if value is None:  # not measured, or undefined
        return "-"
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def decisions() -> str:
    """The index of decisions by topic, from the second line of each."""
    topics: dict[str, list[str]] = defaultdict(list)
    for file in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        text = file.read_text(encoding="utf-8")
        head = re.match(
            r"# (\d{3}): (.*)\n\nDate: ([\d-]+)\. Status: (.*?)\. Topic: (.*)\.\n", text
        )
        if head is None:
            raise ValueError(f"{file}: begins with no title, date, status and topic")
        number, title, date, status, topic = head.groups()
        shown = "" if status == "accepted" else f" *{status[0].upper()}{status[1:]}.*"
        topics[topic].append(f"- [{number}]({file.name}) {_escape(title)} ({date}).{shown}")
    out = [
        *(_NOTE, "# Decisions", ""),
        "What was decided, what was measured, and which alternative lost. A record keeps the words "
        "of its day; where a later one replaces it, its status says so.",
        "",
    ]
    for topic in sorted(topics):
        out += [f"## {topic[0].upper()}{topic[1:]}", "", *topics[topic], ""]
    return "\n".join(out)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(' '.join(cell.split()) for cell in row)} |" for row in rows]


def _escape(text: str) -> str:
    """Text as Markdown shows it as it stands: what is no code keeps its signs."""
    parts = re.split(r"(`+[^`]*`+)", text)
    return "".join(
        part.replace("|", "\\|") if index % 2 else re.sub(r"([|*<\[\]])", r"\\\1", part)
        for index, part in enumerate(parts)
    )


def _anchor(name: str) -> str:
    return re.sub(r"[^\w-]", "", name.lower().replace(" ", "-"))


def main() -> None:
    """Write every page that is not as it should be."""
    for path, text in pages().items():
        file = DOCS / path
        file.parent.mkdir(parents=True, exist_ok=True)
        text = text.rstrip("\n") + "\n"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            print(f"wrote docs/{path}")


if __name__ == "__main__":
    main()
