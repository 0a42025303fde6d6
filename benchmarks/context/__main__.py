"""Status and relations on corpora: precision, recall and F1, and speed, beside rule-based peers.

    python -m benchmarks.context --data FOLDER --part dev [--negspacy PYTHON] [--medspacy PYTHON]
        [--edsnlp PYTHON] [--repeats 5]

FOLDER holds ``<set>/<part>.jsonl[.gz]``; a set that is absent is skipped and named. Each peer runs
in the interpreter that has it, on the same gold entities, with its default rules: negspacy on
English, medspaCy's ConText on English and French (the rules it ships), EDS-NLP's
qualifiers on French. The last line of stdout is one JSON document, kept as
benchmarks/results/context.json:

    scores     by set, attribute and who: precision, recall, f1, and how many are true
    relations  by set and type
    speed      sentences/s of one core on negex_120, and ms of a note of 2,000 characters with 40
               entities, both in processor time, the best of the repeats
    ratios     our F1 over the best peer's by set and attribute, and our sentences/s over theirs
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from actors.config import RESULTS
from actors.config.context import Context
from actors.config.relations import DEFAULT_RULES, RelationRule, Relations
from actors.context import ContextStage
from actors.relations import RelationStage
from actors.spans import Annotations, Assertion, Experiencer, spanning
from benchmarks.context.sets import RELATION_SETS, SHIPPED, STATUS_SETS, StatusCase, rows
from benchmarks.machine import machine

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PEERS = {"negspacy": ("en",), "medspacy": ("en", "fr"), "edsnlp": ("fr",)}

Flags = dict[str, list[bool]]


def ours(stage: ContextStage, case: StatusCase) -> Flags:
    """Our answers on a case, by attribute."""
    entities = tuple(spanning(case.text, start, end, "X") for start, end in case.spans)
    refined = stage.refine(case.text, Annotations(entities)).entities
    found = [entity.assertion or Assertion() for entity in refined]
    flags = {
        name: [bool(getattr(one, name)) for one in found]
        for name in ("negated", "uncertain", "historical", "hypothetical")
    }
    flags["family"] = [one.experiencer is Experiencer.FAMILY for one in found]
    return flags


def score(gold: Sequence[bool], found: Sequence[bool]) -> dict[str, float | int]:
    """Precision, recall and F1 of one attribute; ``true``: gold entities that have it."""
    both = sum(g and f for g, f in zip(gold, found, strict=True))
    precision = both / sum(found) if any(found) else 0.0
    recall = both / sum(gold) if any(gold) else 0.0
    f1 = 2 * precision * recall / (precision + recall) if both else 0.0
    return {
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1": round(f1, 4),
        "true": sum(gold),
    }


def peer(name: str, python: str, language: str, cases: Sequence[StatusCase]) -> dict[str, Any]:
    """The answers of a peer, from its interpreter."""
    with tempfile.TemporaryDirectory(prefix="medspan-context-") as folder:
        given, out = Path(folder) / "cases.json", Path(folder) / "out.json"
        given.write_text(json.dumps([{"text": c.text, "spans": c.spans} for c in cases]))
        command = [python, "-P", "-W", "ignore", str(HERE / "peer.py"), name, language]
        done = subprocess.run(
            [*command, str(given), str(out)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{done.stderr}\n{name} could not run with {python}; see above")
        answer: dict[str, Any] = json.loads(out.read_text())
        return answer


def best_seconds(work: Callable[[], object], repeats: int) -> float:
    """Least processor time of the repeats: the machine may be busy with something else."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def status(options: argparse.Namespace, result: dict[str, Any]) -> None:
    """Fill scores, speed and ratios of status."""
    for one in STATUS_SETS:
        found = rows(options.data, one.name, options.part)
        if found is None:
            result["skipped"].append(one.name)
            continue
        cases = [one.read(row) for row in found]
        stage = ContextStage(Context.model_validate({"languages": (one.language,)}))
        answers = {"medspan": [ours(stage, case) for case in cases]}
        for name, languages in PEERS.items():
            python = getattr(options, name)
            if python and one.language in languages:
                said = peer(name, python, one.language, cases)
                answers[name] = said["found"]
                result["versions"] |= said["versions"]
                if one.name == "negex_120":
                    result["speed"][f"{name}_sentences_per_s"] = round(len(cases) / said["seconds"])
        scores: dict[str, Any] = {}
        for attribute in cases[0].gold:
            gold = [flag for case in cases for flag in case.gold[attribute]]
            if not any(gold):
                continue
            scores[attribute] = {
                who: score(gold, [flag for flags in given for flag in flags[attribute]])
                for who, given in answers.items()
                if attribute in given[0]
            }
            others = [s["f1"] for who, s in scores[attribute].items() if who != "medspan"]
            if others and max(others) > 0:
                ratio = scores[attribute]["medspan"]["f1"] / max(others)
                result["ratios"][f"{one.name}_{attribute}_f1"] = round(ratio, 3)
        result["scores"][one.name] = scores
        if one.name == "negex_120":
            _sentence_speed(cases, stage, options.repeats, result)


def _sentence_speed(
    cases: Sequence[StatusCase], stage: ContextStage, repeats: int, result: dict[str, Any]
) -> None:
    given = [
        (c.text, Annotations(tuple(spanning(c.text, s, e, "X") for s, e in c.spans))) for c in cases
    ] * max(1, 2000 // len(cases))
    seconds = best_seconds(lambda: [stage.refine(t, a) for t, a in given], repeats)
    speed = result["speed"]
    speed["sentences_per_s"] = round(len(given) / seconds)
    for name in PEERS:
        if f"{name}_sentences_per_s" in speed:
            theirs = speed[f"{name}_sentences_per_s"]
            result["ratios"][f"{name}_speed"] = round(speed["sentences_per_s"] / theirs, 2)


def note_speed(repeats: int) -> dict[str, float]:
    """Milliseconds of one note of 2,000 characters with 40 entities, from the samples."""
    line = next(
        line
        for line in (ROOT / "configs/samples/quickstart-gold.jsonl").read_text().splitlines()
        if line.startswith('{"id": "note-001"')
    )
    row = json.loads(line)
    text = row["text"][:2000].ljust(2000)
    spans = [(e["start"], e["end"], e["label"]) for e in row["entities"] if e["end"] <= 2000][:40]
    at = 0
    while len(spans) < 40:  # every other word, until there are forty
        word = text.find(" ", at + 9) + 1
        spans.append((word, min(2000, word + 4), "DisorderOrSyndrome"))
        at = word
    entities = tuple(spanning(text, s, e, label) for s, e, label in sorted(spans))
    context, relate = ContextStage(Context()), RelationStage(Relations())
    given = Annotations(entities)
    both = context.refine(text, given)

    def many(work: Callable[[], object]) -> float:
        return 10 * best_seconds(lambda: [work() for _ in range(100)], repeats)

    return {
        "note_context_ms": round(many(lambda: context.refine(text, given)), 3),
        "note_relations_ms": round(many(lambda: relate.refine(text, both)), 3),
    }


def relations(options: argparse.Namespace, result: dict[str, Any]) -> None:
    """Fill the scores of relations."""
    for one in RELATION_SETS:
        found = rows(options.data, one.name, options.part)
        if found is None:
            result["skipped"].append(f"{one.name} (relations)")
            continue
        rules = tuple(RelationRule.model_validate(rule) for rule in one.rules) or tuple(
            rule for rule in DEFAULT_RULES if rule.type in SHIPPED
        )
        stage = RelationStage(Relations(rules=rules, abbreviations=False))
        counts: dict[str, list[int]] = {}
        for row in found:
            entities = tuple(
                spanning(row["text"], e["start"], e["end"], e["label"]) for e in row["entities"]
            )
            gold = set(one.gold(row))
            refined = stage.refine(row["text"], Annotations(entities))
            said = {(r.type, r.head, r.tail) for r in refined.relations}
            for place, group in enumerate((gold, said, gold & said)):
                for kind, _, _ in group:
                    counts.setdefault(kind, [0, 0, 0])[place] += 1
        result["relations"][one.name] = {
            kind: {
                "precision": round(both / said, 4) if said else 0.0,
                "recall": round(both / gold, 4) if gold else 0.0,
                "f1": round(2 * both / (gold + said), 4),
                "true": gold,
            }
            for kind, (gold, said, both) in sorted(counts.items())
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", default="dev")
    parser.add_argument("--repeats", type=int, default=5)
    for name in PEERS:
        parser.add_argument(f"--{name}", help=f"an interpreter that has {name}")
    options = parser.parse_args()
    result: dict[str, Any] = {
        "benchmark": "context",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "part": options.part,
        "machine": machine(),
        "results": RESULTS["context"],
        "versions": {"python": platform.python_version()},
        "skipped": [],
        "scores": {},
        "relations": {},
        "speed": {},
        "ratios": {},
    }
    status(options, result)
    relations(options, result)
    result["speed"] |= note_speed(options.repeats)
    for name, attributes in result["scores"].items():
        for attribute, by in attributes.items():
            line = ", ".join(f"{who} {s['f1']:.3f}" for who, s in by.items())
            print(f"{name} {attribute}: {line}", file=sys.stderr)
    print(f"speed: {result['speed']}", file=sys.stderr)
    results = ROOT / "benchmarks/results"
    results.mkdir(exist_ok=True)
    (results / "context.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
