"""How long a sequence a model file takes, found by trying.

A table of 514 positions holds 512 tokens in some families and 514 in others, and config.json does
not say which. A position that is not there is an error of onnxruntime on the CPU, at once.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.model_folder import ModelFileError

_MEMORY = ("allocat", "memory")


def usable_length(attempt: Callable[[int], None], most: int, least: int) -> int:
    """The most tokens, from ``least`` to ``most``, for which ``attempt`` does not raise.

    Every length up to the result is taken to work. Raises ModelFileError where memory is what
    fails, since the length must not depend on the machine, and where not even ``least`` works.
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

    # What is too much is a few tokens as a rule, and what fails does so at once.
    bad, step, good = most + 1, 0, most
    while (error := fails(good)) is not None:
        if good <= least:
            raise ModelFileError(f"a window of {least} tokens cannot be run: {error}") from error
        bad, step = good, max(1, 2 * step)
        good = max(least, good - step)
    while bad - good > 1:
        middle = (good + bad) // 2
        if fails(middle) is None:
            good = middle
        else:
            bad = middle
    return good
