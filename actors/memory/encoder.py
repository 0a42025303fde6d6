"""Main memory of ONNX models that refine entities: they run on the CPU, one text at a time, in
every process that links entities or decides their status."""

from __future__ import annotations

from pathlib import Path

from actors.model_folder import CLASSIFIER_FILES

# Measured on encoders of BERT's shape with files of 89 and 434 MB and 30,522 tokens: 116 and 498 MB
# resident, 150 and 543 MB while they load; the tokenizer 15 MB of them.
_RUNTIME = 20 * 10**6
"""Bytes of a session without its tensors."""
_LOADED = 1.25
"""Bytes in memory for a byte of a weights file."""
_TOKENIZER = 36
"""Bytes in memory for a byte of tokenizer.json or vocab.txt: tables of strings, each way."""
_TOKENIZER_FILES = frozenset({"tokenizer.json", "vocab.txt"})


def encoder_main_memory(folder: Path, weights_file: str | None = None) -> dict[str, int]:
    """Estimate the bytes by purpose of a model in a folder; ``weights_file`` is ``weights.file``.

    Raises FileNotFoundError that names a missing file.
    """
    files = CLASSIFIER_FILES.chosen(weights_file).present(folder)
    tokenizer = sum(path.stat().st_size for path in files if path.name in _TOKENIZER_FILES)
    others = {*_TOKENIZER_FILES, "config.json", "tokenizer_config.json"}
    weights = sum(path.stat().st_size for path in files if path.name not in others)
    return {"weights": _RUNTIME + round(_LOADED * weights), "tokenizer": _TOKENIZER * tokenizer}
