"""A guideline's labels as prompts: what stands before the text, or goes to the labels' encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from actors.config.gliner import GlinerPrompt
from actors.guideline import Guideline, Label


class LabelTooLong(ValueError):
    """A label whose words do not fit into a prompt; the message names it."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelPrompt:
    """Labels that are asked for together.

    ``ids``: the tokens before the text, without the sequence's own special ones; empty where labels
    have an encoder of their own. ``labels``: the label of each name that is asked for, by its place
    in the guideline. ``floors``: the least score of each. ``names``: what stands for each.
    """

    ids: npt.NDArray[np.int32]
    labels: tuple[int, ...]
    floors: npt.NDArray[np.float32]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """One name that is asked for: the label's place in the guideline, and the name's tokens."""

    label: int
    name: str
    pieces: tuple[int, ...]


def names_of(guideline: Guideline, settings: GlinerPrompt) -> Iterator[tuple[int, str]]:
    """The names that are asked for, each with its label's place in the guideline.

    A name that is written twice is asked for once.
    """
    seen: set[str] = set()
    for place, (name, label) in enumerate(guideline.labels.items()):
        for words in _wordings(name, label, settings):
            if words not in seen:
                seen.add(words)
                yield place, words


def _wordings(name: str, label: Label, settings: GlinerPrompt) -> Iterator[str]:
    definition = " ".join(label.definition.split())
    if settings.ask == "name" or not definition:
        yield name
    elif settings.ask == "definition":
        yield definition
    else:
        yield f"{name}: {definition}"
    if settings.synonyms:
        yield from label.synonyms


def share_out(asked: Sequence[Asked], budget: int | None, most: int | None) -> list[list[Asked]]:
    """The names in groups, one a prompt: as few as will do, and about equally many names in each.

    ``budget``: tokens of a prompt, a mark for each label and one for the text counted; None where
    names stand in no prompt. ``most``: names of a prompt. Raises LabelTooLong.
    """
    if budget is not None:
        for one in asked:
            if _size([one]) > budget:
                raise LabelTooLong(
                    f"label {one.name!r} is {len(one.pieces)} tokens long, but a prompt "
                    f"fits {max(0, budget - 2)}; shorten it, or raise window.size"
                )
    count = -(-len(asked) // most) if most else 1
    while True:
        parts = np.array_split(np.arange(len(asked)), count)
        groups = [[asked[index] for index in part] for part in parts]
        if budget is None or all(_size(group) <= budget for group in groups):
            return groups
        count += 1


def _size(group: Sequence[Asked]) -> int:
    return 1 + sum(1 + len(one.pieces) for one in group)


def tokens_of(group: Sequence[Asked], label_mark: int, text_mark: int) -> npt.NDArray[np.int32]:
    """The prompt of a uni-encoder: each name after the labels' mark, then the text's mark."""
    ids = [token for one in group for token in (label_mark, *one.pieces)]
    return np.array([*ids, text_mark], np.int32)
