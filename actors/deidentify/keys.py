"""All that depends on the key: numbers that are the same for the same patient and value."""

from __future__ import annotations

import hashlib
import hmac
import json
from random import Random

SHORTEST_KEY = 16


class SecretKey:
    """A secret, in bytes. It is never printed: ``repr`` hides it.

    Raises ValueError where it is shorter than 16 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SHORTEST_KEY:
            raise ValueError(
                f"the key has {len(secret)} bytes; at least {SHORTEST_KEY} random ones are needed, "
                "such as `openssl rand -hex 32` gives"
            )
        self._secret = secret

    def __repr__(self) -> str:
        return "SecretKey(...)"

    def digest(self, *what: str) -> bytes:
        """32 bytes that follow from the key and some strings, whatever these contain."""
        return hmac.new(self._secret, json.dumps(what).encode(), hashlib.sha256).digest()

    def random(self, *what: str) -> Random:
        """A generator that gives the same numbers for the same strings, in any process."""
        return Random(int.from_bytes(self.digest(*what)))

    def days(self, patient_id: str, most: int) -> int:
        """By how many days a patient's dates move: 1 to ``most``, forwards or backwards."""
        number = int.from_bytes(self.digest("shift", patient_id)[:8]) % (2 * most)
        return number - most if number < most else number - most + 1
