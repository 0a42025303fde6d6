"""URIs of weights that are already on this machine."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from actors.config.load import STARTERS

_STARTER, _PACKAGE = "starter:", "package:"


class WeightsError(RuntimeError):
    """Weights that cannot be fetched or fail verification; the message names the URI."""


def local_path(uri: str) -> Path | None:
    """Return the path of a local URI (a path, file://, starter:, package:); None for a remote one.

    Nothing needs to exist there. Raises WeightsError if the package of package: is not installed.
    """
    if uri.startswith(_STARTER):
        return STARTERS / uri.removeprefix(_STARTER)
    if uri.startswith(_PACKAGE):
        return _in_package(uri)
    if uri.startswith("file://"):
        return Path(unquote(urlsplit(uri).path))
    return None if "://" in uri else Path(uri).expanduser()


def _in_package(uri: str) -> Path:
    name, _, file = uri.removeprefix(_PACKAGE).partition("/")
    # A top-level package is found without being imported.
    spec = find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"{uri}: the Python package {name} is not installed")
    return Path(spec.submodule_search_locations[0]) / file
