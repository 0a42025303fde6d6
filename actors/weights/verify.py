"""SHA-256 of weights, in one file or several."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from actors.config.base import Stated
from actors.config.gguf_parts import gguf_parts
from actors.weights.locations import WeightsError

_BLOCK = 1 << 20


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            total.update(block)
    return total.hexdigest()


def weights_digest(path: Path, stated: Stated) -> str:
    """Return a digest of a GGUF model's contents, of all its parts if it is in several.

    A part whose SHA-256 is ``stated``, and so was verified, is not read again.
    """
    parts = [Path(part) for part in gguf_parts(str(path))]
    known = _of_each(stated)
    found = [*known, *(digest(part) for part in parts[len(known) :])]
    if len(found) == 1:
        return found[0]
    return hashlib.sha256("".join(found).encode()).hexdigest()


def verify(uri: str, files: Sequence[Path], stated: Stated) -> None:
    """Compare files with their stated SHA-256, the first only if one is stated.

    Raises FileNotFoundError or WeightsError.
    """
    expected = _of_each(stated)
    if isinstance(stated, tuple) and len(stated) != len(files):
        raise WeightsError(
            f"{uri}: sha256 lists {len(stated)} files, but the weights are in {len(files)}: "
            f"{', '.join(file.name for file in files)}"
        )
    for file, wanted in zip(files, expected, strict=False):
        if not file.is_file():
            raise FileNotFoundError(f"{uri}: has no {file.name} to verify")
        found = digest(file)
        if found != wanted:
            raise WeightsError(f"{uri}: SHA-256 of {file.name} is {found}, expected {wanted}")


def _of_each(stated: Stated) -> tuple[str, ...]:
    return () if stated is None else (stated,) if isinstance(stated, str) else stated
