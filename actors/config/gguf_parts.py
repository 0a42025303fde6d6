"""Names of a GGUF model that is published in several files.

``llama-gguf-split`` names them ``name-00001-of-00003.gguf`` and so on; llama.cpp is given the first
and looks for the others beside it.
"""

from __future__ import annotations

import re

_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf(?=\?|$)")


def gguf_parts(uri: str) -> tuple[str, ...]:
    """Return the paths or URIs of all files of the model whose first file is ``uri``.

    A name of any other form stands for itself. Raises ValueError for a part other than the first.
    """
    match = _PART.search(uri)
    if match is None:
        return (uri,)
    number, count = int(match[1]), int(match[2])
    if number != 1:
        raise ValueError(
            f"{uri} is part {number} of {count}: name the first one, -00001-of-{match[2]}.gguf"
        )
    head, tail = uri[: match.start()], uri[match.end() :]
    return tuple(f"{head}-{part:05}-of-{match[2]}.gguf{tail}" for part in range(1, count + 1))
