"""How an error is shown. Messages hold brackets (paths, extras), which are no markup of rich's."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape


def show_error(error: object, console: Console | None = None) -> None:
    """Print ``medspan: <message>``, on stderr without a console."""
    console = console or Console(stderr=True)
    console.print("[red]medspan:[/]", escape(str(error)), soft_wrap=True, highlight=False)
