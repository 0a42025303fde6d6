"""The result of recognising a line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LINE_HEIGHT = 48
"""Height of the crops that recognisers take, in pixels."""


@dataclass(frozen=True, slots=True)
class RecognizedLine:
    """The recognised text of a line: characters, each with its position along the line (0 to 1) and
    its probability."""

    text: str
    places: NDArray[np.float32]
    probabilities: NDArray[np.float32]

    @property
    def confidence(self) -> float:
        """Mean probability of the characters; 0 for an empty line."""
        return float(self.probabilities.mean()) if len(self.probabilities) else 0.0
