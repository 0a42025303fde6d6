"""The peer, run by the interpreter of its own environment: presidio-analyzer's recognisers that
need no model. Texts come in and spans go out as JSON lines; the last line holds the seconds."""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from typing import Any

from presidio_analyzer import RecognizerRegistry

# Presidio's own default is 0; its weakest patterns are meant to be confirmed by words around them,
# which without an NLP engine never happens.
_LEAST_SCORE = 0.1


def main() -> None:
    language = sys.argv[1]
    registry = RecognizerRegistry(supported_languages=[language])
    registry.load_predefined_recognizers(languages=[language])
    recognizers = [r for r in registry.recognizers if r.name != "SpacyRecognizer"]
    texts = [json.loads(line) for line in sys.stdin]
    begun = time.perf_counter()
    found = [spans(text, recognizers) for text in texts]
    seconds = time.perf_counter() - begun
    for one in found:
        print(json.dumps(one))
    print(json.dumps({"seconds": seconds, "version": version("presidio-analyzer")}))


def spans(text: str, recognizers: list[Any]) -> list[list[Any]]:
    return [
        [result.start, result.end, result.entity_type]
        for recognizer in recognizers
        for result in recognizer.analyze(text, recognizer.supported_entities, None) or ()
        if result.score >= _LEAST_SCORE
    ]


if __name__ == "__main__":
    main()
