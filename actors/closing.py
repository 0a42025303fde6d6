"""A thing that is closed when its ``with`` block ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class Closing(ABC):
    """Whoever has a ``close`` is a context manager by it."""

    @abstractmethod
    def close(self) -> None:
        """Release what is held; safe to call when the block has ended, however it did."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
