"""Mixin for objects that are closed at the end of a ``with`` block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class Closeable(ABC):
    """Mixin: turns a class with ``close()`` into a context manager."""

    @abstractmethod
    def close(self) -> None:
        """Release all resources; safe to call however the block ended."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
