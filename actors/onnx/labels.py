"""What a model's label names mean: types, roles, and which label may follow which.

BIO, BIOES (also written BILOU or BMES), IO, and plain names without a prefix.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from actors.model_folder import ModelFileError

Scheme = Literal["auto", "bio", "bioes", "io", "plain"]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.intp]

_OUTSIDE = {"O", "OUTSIDE"}
# Said of positions that are no text. A token of text cannot be one of these.
_IGNORED = {"PAD", "[PAD]", "<PAD>", "[CLS]", "[SEP]"}
_PREFIXED = re.compile(r"([BIESLUM])[-_](.+)", re.DOTALL)
_ROLES = {"L": "E", "U": "S", "M": "I"}


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of a model, by index; every array has one row per label.

    ``types``: the names of the entity types. ``kind``: the index of a label's type, -1 for
    outside. ``ignored``: labels that no token of text has. ``begins``: a new entity begins here
    in any case. ``ends``: an entity ends here in any case. ``single``: the type has no label to
    go on with. ``allowed[i, j]``: label j may follow label i; ``first`` and ``last``: it may be
    the first or the last of a document.
    """

    names: tuple[str, ...]
    types: tuple[str, ...]
    kind: Ints
    ignored: Bools
    begins: Bools
    ends: Bools
    single: Bools
    allowed: Bools
    first: Bools
    last: Bools

    @property
    def constrained(self) -> bool:
        """Whether the scheme forbids any sequence at all."""
        text = ~self.ignored
        every = self.allowed[np.ix_(text, text)].all()
        return not (every and self.first[text].all() and self.last[text].all())


def read_labels(names: Sequence[str], scheme: Scheme = "auto") -> Labels:
    """The meaning of label names, in the order of the model's outputs.

    Raises ModelFileError where a scheme was asked for that the names do not have.
    """
    scheme = _found(names) if scheme == "auto" else scheme
    parts = [_part(name, scheme) for name in names]
    types = tuple(dict.fromkeys(kind for _, kind in parts if kind))
    has = {(role, kind): index for index, (role, kind) in reversed(list(enumerate(parts))) if kind}
    size = len(names)
    opens = [role in ("B", "I") for role, _ in parts]
    goes_on = [role in ("I", "E") for role, _ in parts]
    allowed = np.ones((size, size), bool)
    first, last = np.ones(size, bool), np.ones(size, bool)
    for j, (_, kind) in enumerate(parts):
        if goes_on[j] and ("B", kind) in has:
            first[j] = False
            allowed[:, j] = [opens[i] and parts[i][1] == kind for i in range(size)]
    for i, (_, kind) in enumerate(parts):
        if opens[i] and ("E", kind) in has:
            last[i] = False
            allowed[i, :] = [goes_on[j] and parts[j][1] == kind for j in range(size)]

    return Labels(
        names=tuple(names),
        types=types,
        kind=np.array([types.index(kind) if kind else -1 for _, kind in parts], np.intp),
        ignored=np.array([name.upper() in _IGNORED for name in names], bool),
        begins=np.array([role in ("B", "S") for role, _ in parts], bool),
        ends=np.array([role in ("E", "S") for role, _ in parts], bool),
        single=np.array(
            [bool(kind) and not {("I", kind), ("E", kind)} & set(has) for _, kind in parts], bool
        ),
        allowed=allowed,
        first=first,
        last=last,
    )


def _found(names: Sequence[str]) -> Scheme:
    entities = [name for name in names if name.upper() not in _OUTSIDE | _IGNORED]
    roles = set()
    for name in entities:
        match = _PREFIXED.fullmatch(name)
        if match is None:
            return "plain"
        roles.add(_ROLES.get(match[1], match[1]))
    if roles & {"E", "S"}:
        return "bioes"
    return "bio" if "B" in roles else "io"


def _part(name: str, scheme: Scheme) -> tuple[str, str]:
    """The role and the type of a label; both empty outside of entities."""
    if name.upper() in _OUTSIDE | _IGNORED:
        return "", ""
    if scheme == "plain":
        return "I", name
    match = _PREFIXED.fullmatch(name)
    if match is None:
        raise ModelFileError(f"config.json: label {name!r} in id2label has no {scheme} prefix")
    role = _ROLES.get(match[1], match[1])
    if scheme == "io":
        role = "I"
    elif scheme == "bio":
        role = "B" if role in ("B", "S") else "I"
    return role, match[2]
