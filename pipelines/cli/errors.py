"""Error output. Messages may contain brackets (paths, extras), which are escaped for rich."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape


def show_error(error: object, console: Console | None = None) -> None:
    """Print ``medspan: <message>``, by default on stderr."""
    console = console or Console(stderr=True)
    console.print("[red]medspan:[/]", escape(str(error)), soft_wrap=True, highlight=False)
