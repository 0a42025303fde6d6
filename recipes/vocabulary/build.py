"""Build the starter vocabularies, `starter:drugs` and `starter:diseases`.

    python -m recipes.vocabulary.build --drugs drugbank_open_vocabulary.tsv.gz \\
        --diseases disease_ontology.tsv.gz --version 2026-11

The files have the columns code, preferred_name, synonyms and type.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from actors.config.load import STARTERS
from actors.linking import build_index, gather, read
from actors.linking.vocabulary import Vocabulary


def main() -> None:
    """Replace both starters."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--drugs", "--diseases"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--version", required=True)
    arguments = parser.parse_args()
    version = arguments.version
    _ship(gather("drugbank", version, read(arguments.drugs)), "drugs")
    _ship(gather("doid", version, read(arguments.diseases)), "diseases")


def _ship(vocabulary: Vocabulary, starter: str) -> None:
    target = STARTERS / starter
    with tempfile.TemporaryDirectory() as scratch:
        built = build_index(vocabulary, Path(scratch))
        target.mkdir(exist_ok=True)
        for path in built.iterdir():
            shutil.copyfile(path, target / path.name)


if __name__ == "__main__":
    main()
