"""The command line: ``medspan run | extract | serve | evaluate | report | models | runs``.

Each command imports what it needs when it is called, so that ``extract`` never waits for Ray.
"""

from __future__ import annotations

from pipelines.cli.app import main

__all__ = ["main"]
