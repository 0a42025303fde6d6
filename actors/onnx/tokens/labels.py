"""Interpret a model's label names: types, roles, and allowed transitions.

Supports BIO, BIOES (also written BILOU or BMES), IO, and plain names. The role is before the type
("B-Drug", "b_drug"), after it ("Drug-B"), or alone ("B", "I"): whichever most labels use. A label
that does not fit becomes its own type and is listed in ``unfit``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from actors.arrays import BoolArray, IntpArray
from actors.model_folder import ModelFileError

Scheme = Literal["auto", "bio", "bioes", "io", "plain"]

_OUTSIDE = {"O", "OUTSIDE", "NONE", "NULL", "NIL", "NONENTITY", "NOENTITY", "NOTENTITY"}
# Labels of positions that are not text, such as <START> or [CLS]; no token of text has one.
_IGNORED = re.compile(r"PAD|<.+>|\[.+\]", re.IGNORECASE | re.DOTALL)
_ROLES = {"L": "E", "U": "S", "M": "I"}
_BEFORE = re.compile(r"(?P<role>[BIESLUM])[-_:|/](?P<type>.+)", re.IGNORECASE | re.DOTALL)
_AFTER = re.compile(r"(?P<type>.+)[-_:|/](?P<role>[BIESLUM])", re.IGNORECASE | re.DOTALL)
_ALONE = re.compile(r"(?P<role>[BIESLUM])(?P<type>)", re.IGNORECASE)
_UNNAMED = "Entity"
"""The type of labels that consist of a role alone."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of a model, by index; every array has one row per label.

    ``types``: names of the entity types. ``kind``: index of a label's type, -1 for outside.
    ``ignored``: labels that no token of text has. ``begins``: always begins a new entity. ``ends``:
    always ends an entity. ``allowed[i, j]``: label j may follow label i; ``first`` and ``last``:
    may be the first or last of a document. ``unfit``: labels without a role although most have one;
    each is a type of its own.
    """

    names: tuple[str, ...]
    types: tuple[str, ...]
    kind: IntpArray
    ignored: BoolArray
    begins: BoolArray
    ends: BoolArray
    allowed: BoolArray
    first: BoolArray
    last: BoolArray
    unfit: tuple[str, ...] = ()

    @property
    def constrained(self) -> bool:
        """True if the scheme forbids any sequence at all."""
        text = ~self.ignored
        every = self.allowed[np.ix_(text, text)].all()
        return not (every and self.first[text].all() and self.last[text].all())


def read_labels(
    names: Sequence[str], scheme: Scheme = "auto", outside: Collection[str] = ()
) -> Labels:
    """Interpret label names, given in the order of the model's outputs.

    ``outside``: additional names that mean no entity. Raises ModelFileError if the names do not
    follow the requested scheme, or do not include ``outside``.
    """
    if unknown := sorted(set(outside) - set(names)):
        raise ModelFileError(
            f"decode.outside: unknown labels {', '.join(unknown)}; the model's labels are "
            f"{', '.join(names)}"
        )
    ignored = [name not in outside and bool(_IGNORED.fullmatch(name)) for name in names]
    entities = [
        name
        for name, skipped in zip(names, ignored, strict=True)
        if not (skipped or name in outside or _is_outside(name))
    ]
    style = None if scheme == "plain" else _style(entities, scheme)
    unfit = [name for name in entities if style is not None and not style.fullmatch(name)]
    if scheme == "auto":
        scheme = _scheme(style, entities)
    elif scheme != "plain" and (unfit or (style is None and entities)):
        unknown = sorted(unfit or entities)
        raise ModelFileError(
            f"config.json: label {', '.join(map(repr, unknown))} in id2label has no role in scheme "
            f"{scheme}; if it means no entity, add it to decode.outside"
        )
    entity_names = set(entities)
    parts = [_part(name, style, scheme) if name in entity_names else ("", "") for name in names]
    types = tuple(dict.fromkeys(kind for _, kind in parts if kind))
    has = {(role, kind) for role, kind in parts if kind}
    size = len(names)
    can_open = [role in ("B", "I") for role, _ in parts]
    can_continue = [role in ("I", "E") for role, _ in parts]
    allowed = np.ones((size, size), bool)
    first, last = np.ones(size, bool), np.ones(size, bool)
    for j, (_, kind) in enumerate(parts):
        if can_continue[j] and ("B", kind) in has:
            first[j] = False
            allowed[:, j] = [can_open[i] and parts[i][1] == kind for i in range(size)]
    for i, (_, kind) in enumerate(parts):
        if can_open[i] and ("E", kind) in has:
            last[i] = False
            allowed[i, :] = [can_continue[j] and parts[j][1] == kind for j in range(size)]

    return Labels(
        names=tuple(names),
        types=types,
        kind=np.array([types.index(kind) if kind else -1 for _, kind in parts], np.intp),
        ignored=np.array(ignored, bool),
        begins=np.array([role in ("B", "S") for role, _ in parts], bool),
        ends=np.array([role in ("E", "S") for role, _ in parts], bool),
        allowed=allowed,
        first=first,
        last=last,
        unfit=tuple(unfit),
    )


def _is_outside(name: str) -> bool:
    return re.sub(r"[-_ ]", "", name).upper() in _OUTSIDE


def _style(names: Sequence[str], scheme: Scheme) -> re.Pattern[str] | None:
    """Return the pattern in which at least half of the labels have a role; None if there is none.

    A single letter is weak evidence ("E-mail", "Hepatitis-B"). So an end only counts if its type
    also has a beginning, and the roles must include a beginning or an inside, or both if the role
    is not a prefix; unless the scheme is explicit.
    """
    for style in (_BEFORE, _AFTER, _ALONE):
        found = [(_role(m["role"]), m["type"]) for name in names if (m := style.fullmatch(name))]
        roles = [role for role, kind in found if role != "E" or ("B", kind) in found]
        needed = {"B", "I"} - set(roles)
        enough = len(needed) < 2 if style is _BEFORE else not needed
        if roles and 2 * len(roles) >= len(names) and (enough or scheme != "auto"):
            return style
    return None


def _scheme(style: re.Pattern[str] | None, names: Sequence[str]) -> Scheme:
    if style is None:
        return "plain"
    roles = {_role(match["role"]) for name in names if (match := style.fullmatch(name))}
    if roles & {"E", "S"}:
        return "bioes"
    return "bio" if "B" in roles else "io"


def _role(letter: str) -> str:
    return _ROLES.get(letter.upper(), letter.upper())


def _part(name: str, style: re.Pattern[str] | None, scheme: Scheme) -> tuple[str, str]:
    """Return the role and the type of an entity label."""
    match = None if style is None else style.fullmatch(name)
    if match is None:
        return "I", name
    role = _role(match["role"])
    if scheme == "io":
        role = "I"
    elif scheme == "bio":
        role = "B" if role in ("B", "S") else "I"
    return role, match["type"] or _UNNAMED
