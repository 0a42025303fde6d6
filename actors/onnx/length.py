"""Find the maximum sequence length of a model file by trying.

A table of 514 positions holds 512 tokens in some model families and 514 in others, and config.json
does not say which. On the CPU, onnxruntime fails immediately on a position that does not exist.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.model_folder import ModelFileError

_MEMORY = ("allocat", "memory")


def usable_length(attempt: Callable[[int], None], most: int, least: int) -> int:
    """Return the largest length from ``least`` to ``most`` for which ``attempt`` does not raise.

    Every shorter length is assumed to work. Raises ModelFileError if memory is what fails, since
    the length must not depend on the machine, or if even ``least`` fails.
    """

    def fails(length: int) -> Exception | None:
        try:
            attempt(length)
        except Exception as error:
            if isinstance(error, MemoryError) or any(s in str(error).casefold() for s in _MEMORY):
                raise ModelFileError(
                    f"a window of {length} tokens does not fit in memory; set a smaller window.size"
                ) from error
            return error
        return None

    # Usually only a few tokens are too many, and a failing length fails at once.
    bad, step, good = most + 1, 0, most
    while (error := fails(good)) is not None:
        if good <= least:
            raise ModelFileError(f"cannot run a window of {least} tokens: {error}") from error
        bad, step = good, max(1, 2 * step)
        good = max(least, good - step)
    while bad - good > 1:
        middle = (good + bad) // 2
        if fails(middle) is None:
            good = middle
        else:
            bad = middle
    return good
