"""``medspan serve`` and ``medspan token``: the models of a pipeline behind HTTP on one machine."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from actors.config import ConfigError

if TYPE_CHECKING:
    from pipelines.serve.catalogue import Catalogue

log = logging.getLogger(__name__)


def serve(
    config: Annotated[Path, typer.Argument(help="A pipeline file; its `serve` section holds.")],
    host: Annotated[
        str | None, typer.Option(help="Instead of serve.host; beyond loopback it needs tokens.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Instead of serve.port.")] = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster; default: RAY_ADDRESS, else start one here.")
    ] = None,
) -> None:
    """Serve a pipeline's models and its page. SIGHUP reads the files again; Ctrl-C ends."""
    from actors.extras import require
    from pipelines.config import load_pipeline

    require("medspan serve", *load_pipeline(config).extras, "serve")
    from pipelines.batch.cluster import cluster
    from pipelines.serve.running import prepare, start, stop

    catalogue = _catalogue(config)
    host = host or catalogue.serve.host
    port = catalogue.serve.port if port is None else port
    check_host(host, catalogue)
    console = Console(stderr=True, highlight=False)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    prepare()
    with cluster(address):
        try:
            start(catalogue, host, port)
            shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
            console.print(f"medspan serves [bold]{catalogue.default}[/] at http://{shown}:{port}/")
            console.print("API: /v1/openapi.json  reload: SIGHUP  end: Ctrl-C", style="dim")
            for _ in _reloads():
                catalogue = _reloaded(config, catalogue, console)
            console.print("ending: requests under way are finished", style="dim")
        except KeyboardInterrupt:
            pass
        finally:
            stop()


def _reloaded(config: Path, now: Catalogue, console: Console) -> Catalogue:
    """The catalogue of the file, served in the place of ``now``; ``now`` where it cannot be."""
    from pipelines.serve.running import update

    try:
        new = _catalogue(config)
        update(new)
    except (ConfigError, OSError) as error:
        _not_reloaded(console, str(error))
    except RuntimeError as error:
        # A replica's constructor failed: Serve tells it with a traceback, which is for the log.
        log.info("not reloaded: %s", error)
        _not_reloaded(console, "a model does not load; the log of its replica says why")
        try:
            update(now)
            console.print("what was served before goes on")
        except (ConfigError, OSError, RuntimeError) as again:
            log.info("not gone back: %s", again)
            _not_reloaded(console, "what was served before does not load again; mend it, SIGHUP")
    else:
        console.print("reloaded")
        return new
    return now


def _not_reloaded(console: Console, why: str) -> None:
    console.print("[red]not reloaded:[/]", escape(why), soft_wrap=True)


def _reloads() -> Iterator[None]:
    """Something at each SIGHUP, until SIGINT or SIGTERM."""
    came: SimpleQueue[int] = SimpleQueue()  # its put may be called in a signal handler
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: came.put(number))
    while True:
        try:
            # With a timeout, because a signal that another thread takes would not end the wait.
            what = came.get(timeout=0.5)
        except Empty:
            continue
        if what != signal.SIGHUP:
            return
        yield


def token(
    name: Annotated[str, typer.Argument(help="Who will hold it.")],
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="A name it may ask for; may be repeated; default: all."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Add the entry to this tokens file.")
    ] = None,
) -> None:
    """Make a bearer token: the token itself on stdout, once; its digest for the tokens file."""
    from pydantic import ValidationError

    from pipelines.serve.tokens import add_token, as_yaml, new_token

    try:
        secret, entry = new_token(name, tuple(model) if model else None)
    except ValidationError as error:
        raise typer.BadParameter("a name has letters, digits and . _ - only") from error
    console = Console(stderr=True, highlight=False)
    if file is not None:
        add_token(file, entry)
        console.print(f"added to {file}", style="dim", soft_wrap=True)
    else:
        console.print(as_yaml([entry]), markup=False, end="")
    print(secret)


def check_host(host: str, catalogue: Catalogue) -> None:
    """Raises ConfigError where a host beyond loopback would be served without tokens."""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local and catalogue.serve.tokens is None:
        raise ConfigError(
            f"serve: {host} can be reached from elsewhere, so serve.tokens is needed; "
            "make one with `medspan token`"
        )


def _catalogue(config: Path) -> Catalogue:
    from pipelines.config import load_pipeline
    from pipelines.serve.catalogue import catalogue_of

    loaded = load_pipeline(config)
    loaded.pipeline.storage.apply()
    return catalogue_of(loaded)
