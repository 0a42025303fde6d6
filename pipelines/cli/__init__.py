"""The command line: ``medspan run | extract | serve | evaluate | report | models | runs``.

Commands import their dependencies when they are called, so that ``extract`` never loads Ray.
"""

from __future__ import annotations

from pipelines.cli.app import main

__all__ = ["main"]
