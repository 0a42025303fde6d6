"""Columns that stand in a path, as Hive writes them: ``site=a/year=2025/part-0.parquet``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar
from urllib.parse import unquote

from actors.config import ConfigError
from pipelines.config import Between

_NULL = "__HIVE_DEFAULT_PARTITION__"
_Wanted = Mapping[str, tuple[str | int | float, ...] | Between]


class _File(Protocol):
    @property
    def uri(self) -> str: ...


_F = TypeVar("_F", bound=_File)


def partitions_of(uri: str) -> dict[str, str | None]:
    """The columns in a file's path, percent-decoded; None for Hive's null."""
    found: dict[str, str | None] = {}
    for part in uri.split("/")[:-1]:
        name, equals, value = part.partition("=")
        if equals and name:
            found[unquote(name)] = None if value == _NULL else unquote(value)
    return found


def chosen(files: Iterable[_F], where: _Wanted) -> list[_F]:
    """Return the files with the wanted values in their paths. Raises ConfigError for a column that
    no path has, and if no file is left."""
    kept: list[_F] = []
    seen: set[str] = set()
    for file in files:
        values = partitions_of(file.uri)
        seen |= values.keys()
        if all(name in values and _fits(values[name], want) for name, want in where.items()):
            kept.append(file)
    missing = sorted(where.keys() - seen)
    if missing:
        has = ", ".join(sorted(seen)) or "none"
        raise ConfigError(f"source.where: no path has {', '.join(missing)}=...; they have {has}")
    if not kept:
        raise ConfigError("source.where: no file at source.path matches")
    return kept


def _fits(value: str | None, want: tuple[str | int | float, ...] | Between) -> bool:
    if value is None:
        return False
    if isinstance(want, Between):
        low = want.from_ is None or _ordered(want.from_, value)
        return low and (want.to is None or _ordered(value, want.to))
    return any(value == str(one) or _number(value) == _number(one) is not None for one in want)


def _ordered(low: str | int | float, high: str | int | float) -> bool:
    """True if low <= high: as numbers where both are, else as text (ISO dates sort so)."""
    numbers = _number(low), _number(high)
    if numbers[0] is not None and numbers[1] is not None:
        return numbers[0] <= numbers[1]
    return str(low) <= str(high)


def _number(value: str | int | float) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None
