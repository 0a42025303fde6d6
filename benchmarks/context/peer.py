"""A peer on the cases of a file, in its own interpreter: PYTHON peer.py NAME LANGUAGE CASES OUT.

CASES: a JSON list of {text, spans}. OUT: {"versions", "seconds", "found": [{attribute: [bool]}]}.
``seconds`` is processor time of the whole pipeline, tokens and sentences included, without loading.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any


def negspacy(language: str) -> tuple[Any, dict[str, str]]:
    import spacy
    from negspacy.negation import Negex  # noqa: F401  (registers the component)

    nlp = spacy.blank(language)
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("negex")
    return nlp, {"negated": "negex"}


def medspacy(language: str) -> tuple[Any, dict[str, str]]:
    import spacy
    from loguru import logger

    logger.remove()
    import medspacy  # noqa: F401  (registers the components)

    nlp = spacy.blank(language)
    nlp.add_pipe("medspacy_pyrush" if language == "en" else "sentencizer")
    rules = {} if language == "en" else {"config": {"rules": _rules(language)}}
    nlp.add_pipe("medspacy_context", **rules)
    return nlp, {
        "negated": "is_negated",
        "uncertain": "is_uncertain",
        "historical": "is_historical",
        "hypothetical": "is_hypothetical",
        "family": "is_family",
    }


def _rules(language: str) -> str:
    """medspaCy's own rules of another language."""
    import resources

    return str(Path(next(iter(resources.__path__))) / language / "context_rules.json")


def edsnlp(language: str) -> tuple[Any, dict[str, str]]:
    import edsnlp as package

    nlp = package.blank("eds")
    nlp.add_pipe("eds.normalizer")
    nlp.add_pipe("eds.sentences")
    for name in ("negation", "hypothesis", "history", "family"):
        nlp.add_pipe(f"eds.{name}")
    return nlp, {
        "negated": "negation",
        "uncertain": "hypothesis",
        "historical": "history",
        "family": "family",
    }


def run(
    nlp: Any, names: dict[str, str], text: str, spans: list[list[int]]
) -> dict[str, list[bool]]:
    """One document; entities that share a token go through in rounds, since ents may not."""
    found: dict[str, list[bool]] = {name: [False] * len(spans) for name in names}
    left = list(range(len(spans)))
    while left:
        doc = nlp.make_doc(text)
        taken: set[int] = set()
        ents, mine, later = [], [], []
        for i in left:
            span = doc.char_span(*spans[i], label="X", alignment_mode="expand")
            if span is None:
                continue
            tokens = set(range(span.start, span.end))
            if tokens & taken:
                later.append(i)
                continue
            taken |= tokens
            ents.append(span)
            mine.append(i)
        doc.set_ents(ents)
        for _, pipe in nlp.pipeline:
            doc = pipe(doc)
        place = {(e.start, e.end): e for e in doc.ents}
        for i, span in zip(mine, ents, strict=True):
            ent = place[(span.start, span.end)]
            for name, attribute in names.items():
                found[name][i] = bool(getattr(ent._, attribute))
        left = later
    return found


def main() -> None:
    name, language, cases, out = sys.argv[1:]
    nlp, names = {"negspacy": negspacy, "medspacy": medspacy, "edsnlp": edsnlp}[name](language)
    documents = json.loads(Path(cases).read_text())
    run(nlp, names, documents[0]["text"], documents[0]["spans"])
    start = time.process_time()
    found = [run(nlp, names, one["text"], one["spans"]) for one in documents]
    seconds = time.process_time() - start
    versions = {package: version(package) for package in (name, "spacy")}
    Path(out).write_text(json.dumps({"versions": versions, "seconds": seconds, "found": found}))


if __name__ == "__main__":
    main()
