"""``medspan serve`` and ``medspan token``: a pipeline's HTTP server and its bearer tokens."""

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
    config: Annotated[Path, typer.Argument(help="A pipeline file with a `serve` section.")],
    host: Annotated[
        str | None, typer.Option(help="Overrides serve.host; a non-loopback host requires tokens.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Overrides serve.port.")] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster to join; default: RAY_ADDRESS, else a local one."),
    ] = None,
) -> None:
    """Serve a pipeline's models and web page. SIGHUP reloads the configuration; Ctrl-C stops."""
    from actors.extras import require
    from pipelines.config import load_pipeline

    require("medspan serve", *load_pipeline(config).extras, "serve")
    from pipelines.ray_cluster import cluster
    from pipelines.serve.replicas.running import prepare, start, stop

    catalogue = _catalogue(config)
    host = host or catalogue.serve.host
    port = catalogue.serve.port if port is None else port
    check_host(host, catalogue)
    console = Console(stderr=True, highlight=False)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    prepare()
    with cluster(address, serving=True):
        try:
            start(catalogue, host, port)
            shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
            console.print(f"serving [bold]{catalogue.default}[/] at http://{shown}:{port}/")
            console.print("API: /v1/openapi.json  reload: SIGHUP  stop: Ctrl-C", style="dim")
            for _ in _reloads():
                catalogue = _reloaded(config, catalogue, console)
            console.print("shutting down: draining in-flight requests", style="dim")
        except KeyboardInterrupt:
            pass
        finally:
            stop()


def _reloaded(config: Path, now: Catalogue, console: Console) -> Catalogue:
    """Reload the file and return the catalogue now served: the old one if the reload fails."""
    from pipelines.serve.replicas.running import update

    try:
        new = _catalogue(config)
        update(new)
    except (ConfigError, OSError) as error:
        _not_reloaded(console, str(error))
    except RuntimeError as error:
        # A replica's constructor failed. Serve's message holds a traceback, which goes to the log.
        log.info("not reloaded: %s", error)
        _not_reloaded(console, "a model failed to load; see the log of its replica")
        try:
            update(now)
            console.print("still serving the previous configuration")
        except (ConfigError, OSError, RuntimeError) as again:
            log.info("rollback failed: %s", again)
            _not_reloaded(
                console,
                "the previous configuration no longer loads either; fix it and send SIGHUP",
            )
    else:
        console.print("reloaded")
        return new
    return now


def _not_reloaded(console: Console, why: str) -> None:
    console.print("[red]not reloaded:[/]", escape(why), soft_wrap=True)


def _reloads() -> Iterator[None]:
    """Yields at each SIGHUP; ends at SIGINT or SIGTERM."""
    received: SimpleQueue[int] = SimpleQueue()  # its put is safe in a signal handler
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: received.put(number))
    while True:
        try:
            # With a timeout: a signal delivered to another thread would not wake this wait.
            signum = received.get(timeout=0.5)
        except Empty:
            continue
        if signum != signal.SIGHUP:
            return
        yield


def token(
    name: Annotated[str, typer.Argument(help="Name of the client.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="A model or pipeline it may use; repeatable; default: all."
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Add the entry to this tokens file.")
    ] = None,
) -> None:
    """Create a bearer token. It is printed once; the tokens file holds only its digest."""
    from pydantic import ValidationError

    from pipelines.serve.http.bearer_tokens import add_token, as_yaml, new_token

    try:
        secret, entry = new_token(name, tuple(model) if model else None)
    except ValidationError as error:
        raise typer.BadParameter("a name may contain only letters, digits and . _ -") from error
    console = Console(stderr=True, highlight=False)
    if file is not None:
        add_token(file, entry)
        console.print(f"added to {file}", style="dim", soft_wrap=True)
    else:
        console.print(as_yaml([entry]), markup=False, end="")
    print(secret)


def check_host(host: str, catalogue: Catalogue) -> None:
    """Raise ConfigError if a non-loopback host would be served without tokens."""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local and catalogue.serve.tokens is None:
        raise ConfigError(
            f"serve: {host} is reachable from other machines, so serve.tokens is required; "
            "create a token with `medspan token`"
        )


def _catalogue(config: Path) -> Catalogue:
    from pipelines.config import load_pipeline
    from pipelines.serve.catalogue import catalogue_of

    loaded = load_pipeline(config)
    loaded.pipeline.storage.apply()
    return catalogue_of(loaded)
